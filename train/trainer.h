// Trainer: the loop. Forward, backward, step; everything else is a callback.
#pragma once

#include <memory>
#include <vector>

#include "espalier/train/callback.h"
#include "espalier/train/captured_step.h"

namespace espalier {

class OutOfMemory;  // core/out_of_memory.h

/// Its steps compute with denormals as zeros (core/denormals.h).
class Trainer {
 public:
  /// UsageError where two callbacks have the same name.
  Trainer(TrainState& state, std::vector<Callback*> callbacks)
      : state_(state), callbacks_(std::move(callbacks)), passes_(state.model, beside_model(state)) {
    check_names();
    state_.settle = [this] { settle(); };
    state_.remember = [this] { remember(); };
  }
  ~Trainer() {
    state_.settle = state_.remember = [] {};
  }
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// From state.position, which has what callbacks remember, to the end of the stage. Error if the loss is
  /// not finite, and where a card fails.
  void run(Loader& loader);
  /// One step at state.lr from the loader's next config.accumulate batches, or those that are left of its
  /// epoch: forward and backward of each, and the update by their images' mean gradient. False, and no step,
  /// where none is left.
  bool step(Loader& loader);
  /// One step at state.lr from one batch.
  void step(const Batch& batch);
  /// Steps so far whose passes were a graph's (captured_step.h).
  int64_t replayed() const { return passes_.replayed(); }

 private:
  /// What the optimizer trains and the model does not have.
  static std::vector<Parameter*> beside_model(TrainState& state);
  void train(Loader& loader);
  void make_gradients(std::span<const Batch> batches, int64_t images);
  void clear_gradients();
  void count(const Batch& batch);
  void add_gradients(const Batch& batch, double share);
  void pass(const Batch& batch, double share);
  void update();
  void settle();
  void remember();
  void restore();
  /// UsageError where two have the same.
  void check_names() const;
  void notify(void (Callback::*event)(TrainState&));
  [[noreturn]] void fail_not_finite() const;
  /// `done`: ops that the pass over `images` had come through.
  [[noreturn]] void fail_out_of_memory(const OutOfMemory& error, const Tensor& images, uint64_t done) const;

  TrainState& state_;
  std::vector<Callback*> callbacks_;
  CapturedStep passes_;
  std::vector<Batch> batches_;  // of a step on a card, in the same memory each time

  // What has been added up where the network computes, and not been read.
  Tensor tally_;                            // a Tally
  Tensor images_;                           // of the last batch
  bool draws_ = false;                      // the passes draw random numbers
  int64_t unsettled_ = 0;                   // batches
  int64_t first_step_ = 0, last_step_ = 0;  // that these are of, from 1
  StepLosses step_;                         // the step's loss
  int64_t sure_ = 0;                        // the last step that is known to be done
  uint64_t first_op_ = 0;                   // of the network's last pass, as ops_recorded() counts
};

}  // namespace espalier

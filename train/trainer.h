// Trainer: the loop. Forward, backward, step; everything else is a callback.
#pragma once

#include <memory>
#include <vector>

#include "espalier/data/loader.h"
#include "espalier/train/callback.h"

namespace espalier {

class OutOfMemory;  // core/out_of_memory.h

class Trainer {
 public:
  Trainer(TrainState& state, std::vector<Callback*> callbacks)
      : state_(state), callbacks_(std::move(callbacks)) {
    state_.settle = [this] { settle(); };
  }
  ~Trainer() {
    state_.settle = [] {};
  }
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// From state.position to the end of the stage. Error if the loss is not finite.
  void run(Loader& loader);
  /// One step at state.lr from the loader's next config.accumulate batches, or those that are left of its
  /// epoch: forward and backward of each, and the update by their images' mean gradient. False, and no step,
  /// where none is left.
  bool step(Loader& loader);
  /// One step at state.lr from one batch.
  void step(const Batch& batch);

 private:
  void clear_gradients();
  void add_gradients(const Batch& batch, double share);
  void pass(const Batch& batch, double share);
  void update();
  void settle();
  void notify(void (Callback::*event)(TrainState&));
  [[noreturn]] void fail_not_finite() const;
  /// `done`: ops that the pass over `images` had come through.
  [[noreturn]] void fail_out_of_memory(const OutOfMemory& error, const Tensor& images, uint64_t done) const;

  TrainState& state_;
  std::vector<Callback*> callbacks_;

  // What has been added up where the network computes, and not been read.
  Tensor tally_;                            // a Tally
  Tensor images_;                           // of the last batch
  int64_t unsettled_ = 0;                   // batches
  int64_t first_step_ = 0, last_step_ = 0;  // that these are of, from 1
  struct Part {
    Tensor loss;
    double share;
  };
  std::vector<Part> step_;  // the step's loss
};

}  // namespace espalier

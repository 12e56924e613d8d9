// Trainer: the loop. Forward, backward, step; everything else is a callback.
#pragma once

#include <memory>
#include <vector>

#include "espalier/data/loader.h"
#include "espalier/train/callback.h"

namespace espalier {

class Trainer {
 public:
  Trainer(TrainState& state, std::vector<Callback*> callbacks)
      : state_(state), callbacks_(std::move(callbacks)) {}

  /// From state.position to the end of the stage. Error if the loss is not finite.
  void run(Loader& loader);
  /// One step: clears gradients, forward, backward, update at state.lr.
  void step(const Batch& batch);

 private:
  void notify(void (Callback::*event)(TrainState&));
  [[noreturn]] void fail_not_finite(const Batch& batch) const;

  TrainState& state_;
  std::vector<Callback*> callbacks_;
};

}  // namespace espalier

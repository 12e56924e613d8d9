// Inference: what a forward pass costs least in.
#pragma once

#include "espalier/autograd/fixed_weights.h"
#include "espalier/nn/module.h"

namespace espalier {

/// While one is alive, `model` is in inference mode, ops record no history, and weights do not change, so
/// that what kernels make of them is kept from one pass to the next.
class Inference {
 public:
  explicit Inference(Module& model) : mode_(model, false) {}

 private:
  InMode mode_;
  NoGradient off_;
  FixedWeights fixed_;
};

}  // namespace espalier

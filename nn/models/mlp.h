// Multilayer perceptron: fc1 .. fcN with an activation between.
#pragma once

#include "espalier/nn/layers.h"

namespace espalier {

/// x [N,H,W,C] to logits [N,classes] through layers of the widths `hidden`. LeNet-300-100 (LeCun et al. 1998)
/// is the one of 300 and 100.
class Mlp : public Module {
 public:
  Mlp(const Shape& input, const std::vector<int64_t>& hidden, int64_t classes, Activation f);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "mlp"; }

 private:
  std::vector<Linear*> layers_;
};

}  // namespace espalier

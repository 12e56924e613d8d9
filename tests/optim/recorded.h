// Four steps of an optimizer against values that PyTorch computed: weights 1, -2, 0.5; gradients 0.5 t, t -
// 2, 0.25 in step t = 1 .. 4.
#pragma once

#include "espalier/optim/optimizer.h"
#include "optim/support.h"

namespace espalier {

/// `momenta`, if given: set before each step.
inline void check_recorded(const OptimizerOptions& options, const std::vector<Doubles>& recorded,
                           const Doubles& momenta = {}) {
  const auto p = make_parameter({1, -2, 0.5});
  const auto optimizer = make_optimizer(options, {p.get()});
  for (size_t t = 1; t <= recorded.size(); ++t) {
    set_gradient(*p, {0.5f * static_cast<float>(t), static_cast<float>(t) - 2, 0.25f});
    if (!momenta.empty()) optimizer->set_momentum(momenta[t - 1]);
    optimizer->step(options.lr);
    EXPECT_TRUE(near(p->value(), recorded[t - 1], 2e-7)) << options.type << ", step " << t;
  }
}

}  // namespace espalier

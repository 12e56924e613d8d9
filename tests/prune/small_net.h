// Small networks whose forward pass a test writes down.
#pragma once

#include <functional>
#include <utility>

#include "espalier/nn/layers.h"
#include "espalier/nn/network.h"
#include "espalier/prune/pruner.h"
#include "support/numbers.h"

namespace espalier {

class SmallNet : public Module {
 public:
  Conv2d& conv(const std::string& name, int64_t in, int64_t out, int64_t groups = 1, bool bias = true,
               int64_t pad = 1, Activation f = Activation::none) {
    return add_child<Conv2d>(name, in, out, 3, ops::Conv2dOptions{.pad = pad, .groups = groups}, bias, f);
  }
  Linear& linear(const std::string& name, int64_t in, int64_t out, int64_t positions = 1) {
    return add_child<Linear>(name, in, out, true, Activation::none, positions);
  }
  BatchNorm2d& norm(const std::string& name, int64_t channels) {
    return add_child<BatchNorm2d>(name, channels);
  }

  std::function<Variable(const Variable&)> pass;
  Variable forward(const Variable& x) override { return pass(x); }
  std::string type() const override { return "small net"; }
};

inline Variable relu(const Variable& x) { return ops::activation(x, Activation::relu); }

/// Random numbers for everything, the running statistics too, so that outputs differ between images.
inline void randomize(Module& model, uint64_t seed) {
  for (const auto& [name, layer] : model.layers())
    for (const auto& parameter : layer->own_parameters()) {
      const Shape& shape = parameter->shape();
      const bool scale = layer->type() == "batch_norm" && parameter->name == name + ".weight";
      const double width =
          parameter->role == Role::weight ? std::sqrt(6.0 / static_cast<double>(shape.row_elements())) : 0.5;
      if (parameter->name.ends_with("num_batches_tracked")) continue;
      const double center = scale || parameter->name.ends_with("running_var") ? 1.0 : 0.0;
      parameter->value() = random_tensor(shape, ++seed, center - width, center + width);
    }
}

/// Running statistics that are those of one batch, so that no layer's outputs drown in its norm's shifts.
inline void take_statistics(Module& model, const Shape& input) {
  for (BatchNorm2d* norm : batch_norms(model)) norm->begin_cumulative_statistics();
  const NoGradient off;
  const InMode training(model, true);
  model.forward(Variable(random_tensor({8, input[0], input[1], input[2]}, 78)));
}

/// To cut channels by group_norm.
inline PruneOptions cut_channels(Target target = {Target::ratio, 0.0}) {
  return {.unit = Unit::channel,
          .scoring = {.criterion = criteria().named("group_norm")},
          .target = target,
          .apply = Apply::cut};
}

/// In inference, of four random images.
inline Doubles outputs(Module& model, const Shape& input) {
  const NoGradient off;
  model.set_training(false);
  const Tensor y = model.forward(Variable(random_tensor({4, input[0], input[1], input[2]}, 77))).value();
  return doubles(y.span<float>());
}

}  // namespace espalier

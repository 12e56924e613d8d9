#include "espalier/optim/optimizer.h"

#include <algorithm>

#include "espalier/core/spelling.h"
#include "espalier/optim/adam.h"
#include "espalier/optim/sgd.h"

namespace espalier {

Optimizer::Optimizer(std::vector<Parameter*> parameters, size_t state) {
  for (Parameter* parameter : parameters) {
    parameter->drop_state(TensorUse::optimizer);
    if (!parameter->learned() || parameter->frozen()) continue;
    parameters_.push_back(parameter);
    for (size_t i = 0; i < state; ++i)
      parameter->state[join("slot", i)] =
          Tensor::zeros(parameter->shape(), DType::f32, parameter->value().device());
  }
  groups_.push_back({1.0, parameters_});
}

void Optimizer::scale_rate(const std::vector<Parameter*>& some, double factor) {
  for (Group& group : groups_)
    std::erase_if(group.parameters, [&](Parameter* p) { return std::ranges::count(some, p) > 0; });
  Group& group = groups_.emplace_back(Group{factor, {}});
  for (Parameter* parameter : parameters_)
    if (std::ranges::count(some, parameter) > 0) group.parameters.push_back(parameter);
  std::erase_if(groups_, [](const Group& g) { return g.parameters.empty(); });
}

UpdateSpan span_of(Parameter& parameter) {
  const auto state = [&](std::string_view name) {
    const auto found = parameter.state.find(name);
    return found == parameter.state.end() ? nullptr : found->second.f32();
  };
  return {
      parameter.value().f32(), parameter.gradient().f32(),  parameter.mask.data<uint8_t>(), state("slot0"),
      state("slot1"),          parameter.value().elements()};
}

void Optimizer::step(double lr, const Tensor& gradient_scale) {
  ++steps_;
  const Device device = device_of(parameters_);
  for (const Group& group : groups_) {
    spans_.clear();
    for (Parameter* parameter : group.parameters)
      if (parameter->gradient().defined()) spans_.push_back(span_of(*parameter));
    update(device, spans_, static_cast<float>(lr * group.factor), gradient_scale.f32());
  }
}

void Optimizer::clear_gradients() {
  for (Parameter* parameter : parameters_) parameter->variable.clear_gradient();
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options,
                                          const std::vector<Parameter*>& parameters) {
  if (options.type == "sgd") return std::make_unique<Sgd>(parameters, options);
  if (options.type == "adam" || options.type == "adamw") return std::make_unique<Adam>(parameters, options);
  fail_usage("optimizer: no type '", options.type, "'", did_you_mean(options.type, {"sgd", "adam", "adamw"}));
}

}  // namespace espalier

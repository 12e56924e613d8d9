#include "espalier/optim/optimizer.h"

#include <algorithm>

#include "espalier/core/spelling.h"
#include "espalier/optim/adam.h"
#include "espalier/optim/sgd.h"

namespace espalier {

Optimizer::Optimizer(std::vector<Parameter*> parameters, size_t state) {
  for (Parameter* parameter : parameters) {
    const bool learns = parameter->learned() && !parameter->frozen();
    NamedState before;
    std::erase_if(parameter->state, [&](auto& one) {
      if (use_of(one.first) != TensorUse::optimizer) return false;
      before.insert(std::move(one));
      return true;
    });
    const size_t wanted = learns ? state : 0;
    if (before.size() != wanted && misfit_.empty())
      misfit_ = join("holds ", before.size(), " ", before.size() == 1 ? "tensor" : "tensors",
                     " of optimizer state of ", parameter->name, ", expected ", wanted);
    if (!learns) continue;
    parameters_.push_back(parameter);
    for (size_t i = 0; i < state; ++i) {
      const std::string name = join("slot", i);
      Tensor& held = before[name];
      const bool fits = held.defined() && held.shape() == parameter->shape();
      holds_ = holds_ || fits;
      parameter->state[name] =
          fits ? held : Tensor::zeros(parameter->shape(), DType::f32, parameter->value().device());
    }
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

void Optimizer::resume(int64_t steps) {
  if (!misfit_.empty()) fail(misfit_);
  steps_ = steps;
  holds_ = false;
}

void Optimizer::step(double lr, const Tensor& gradient_scale) {
  if (holds_)
    fail(
        "optimizer: the parameters hold state of an optimizer before: clear_optimizer_state() begins anew, "
        "resume() goes on");
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

void clear_optimizer_state(const std::vector<Parameter*>& parameters) {
  for (Parameter* parameter : parameters) parameter->drop_state(TensorUse::optimizer);
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options,
                                          const std::vector<Parameter*>& parameters) {
  if (options.type == "sgd") return std::make_unique<Sgd>(parameters, options);
  if (options.type == "adam" || options.type == "adamw") return std::make_unique<Adam>(parameters, options);
  fail_usage("optimizer: no type '", options.type, "'", did_you_mean(options.type, {"sgd", "adam", "adamw"}));
}

}  // namespace espalier

#include "espalier/optim/optimizer.h"

#include <algorithm>

#include "espalier/optim/adam.h"
#include "espalier/optim/sgd.h"

namespace espalier {

Optimizer::Optimizer(std::vector<Parameter*> parameters, size_t state, double weight_decay) {
  ESP_CHECK(state <= 2, "optimizer: asks for ", state, " tensors of state, expected at most 2 (UpdateSpan)");
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
  settings_.assign(parameters_.size(), {1.0, weight_decay});
  groups_.push_back({{1.0, weight_decay}, parameters_});
}

void Optimizer::set(const std::vector<Parameter*>& some, double Settings::*field, double value) {
  groups_.clear();
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (std::ranges::count(some, parameters_[i]) > 0) settings_[i].*field = value;
    auto group = std::ranges::find(groups_, settings_[i], &Group::settings);
    if (group == groups_.end()) group = groups_.insert(group, {settings_[i], {}});
    group->parameters.push_back(parameters_[i]);
  }
}

void Optimizer::scale_rate(const std::vector<Parameter*>& some, double factor) {
  set(some, &Settings::factor, factor);
}

double Optimizer::factor_of(const Parameter& parameter) const {
  const auto found = std::ranges::find(parameters_, &parameter);
  return found == parameters_.end() ? 0.0
                                    : settings_[static_cast<size_t>(found - parameters_.begin())].factor;
}

void Optimizer::set_decay(const std::vector<Parameter*>& some, double weight_decay) {
  set(some, &Settings::weight_decay, weight_decay);
}

UpdateSpan span_of(Parameter& parameter) {
  const auto state = [&](std::string_view name) {
    const auto found = parameter.state.find(name);
    return found == parameter.state.end() ? nullptr : found->second.f32();
  };
  float* const unmasked = state(unmasked_value);
  return {unmasked ? unmasked : parameter.value().f32(),
          parameter.gradient().f32(),
          unmasked ? nullptr : parameter.mask.data<uint8_t>(),
          state("slot0"),
          state("slot1"),
          parameter.value().elements()};
}

void Optimizer::resume(int64_t steps) {
  if (!misfit_.empty()) fail(misfit_);
  steps_ = steps;
  holds_ = false;
}

void Optimizer::restart() {
  for (Parameter* parameter : parameters_)
    for (auto& [name, tensor] : parameter->state)
      if (use_of(name) == TensorUse::optimizer)
        ESP_RUN(tensor.device(), set_bytes(tensor.raw(), 0, tensor.bytes()));
  steps_ = 0;
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
    update(device, spans_,
           {static_cast<float>(lr * group.settings.factor), static_cast<float>(group.settings.weight_decay),
            gradient_scale.f32()});
  }
  if (!checked_) check_masks();
  checked_ = true;
}

void Optimizer::check_masks() const {
  for (const Parameter* parameter : parameters_) {
    if (!parameter->mask.defined() || parameter->value().device() != Device::cpu) continue;
    const auto mask = parameter->mask.span<uint8_t>();
    const auto value = parameter->value().span<float>();
    for (size_t i = 0; i < mask.size(); ++i)
      ESP_CHECK(mask[i] || value[i] == 0.0f, "optimizer: ", parameter->name, ": weight ", i, " is ", value[i],
                ", and its mask holds it at 0: update() is to set what a mask drops to 0");
  }
}

void Optimizer::clear_gradients() {
  for (Parameter* parameter : parameters_) parameter->variable.clear_gradient();
}

void clear_optimizer_state(const std::vector<Parameter*>& parameters) {
  for (Parameter* parameter : parameters) parameter->drop_state(TensorUse::optimizer);
}

namespace {

template <class Type>
std::unique_ptr<Optimizer> make(const std::vector<Parameter*>& parameters, const OptimizerOptions& options) {
  return std::make_unique<Type>(parameters, options);
}

}  // namespace

Registry<OptimizerInfo>& optimizers() {
  static Registry<OptimizerInfo> all(
      "optimizer",
      {{.name = "sgd",
        .help = "steps against the gradient, with momentum if wanted",
        .paper = "Polyak: Some methods of speeding up the convergence of iteration methods, 1964",
        .options = {"momentum", "nesterov"},
        .min_lr = 1e-6,
        .max_lr = 10,
        .make = make<Sgd>},
       {.name = "adam",
        .help = "a step of each weight's own size, by means of its gradient and of that squared",
        .paper = "Kingma, Ba: Adam: A Method for Stochastic Optimization, ICLR 2015",
        .options = {"betas", "eps"},
        .min_lr = 1e-7,
        .max_lr = 0.1,
        .make = make<Adam>},
       {.name = "adamw",
        .help = "adam with weight decay apart from the gradient",
        .paper = "Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019",
        .options = {"betas", "eps"},
        .weight_decay = 0.01,
        .min_lr = 1e-7,
        .max_lr = 0.1,
        .make = make<Adam>}});
  return all;
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options,
                                          const std::vector<Parameter*>& parameters) {
  const OptimizerInfo& info = optimizers().named(options.type);
  OptimizerOptions all = options;
  all.extra = options.extra.with_defaults(info.extra, "optimizer " + info.name);
  return info.make(parameters, all);
}

}  // namespace espalier

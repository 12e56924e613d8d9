#include "espalier/prune/signals.h"

#include "espalier/core/kernels.h"
#include "espalier/prune/hessian.h"
#include "espalier/prune/inverse_fisher.h"
#include "espalier/prune/layer_inputs.h"
#include "espalier/prune/synaptic_flow.h"

namespace espalier {
namespace {

/// While it lives, frozen parameters have gradients, too.
class Thawed {
 public:
  explicit Thawed(const std::vector<Parameter*>& parameters) {
    for (Parameter* parameter : parameters)
      if (parameter->frozen()) thawed_.push_back(parameter);
    for (Parameter* parameter : thawed_) parameter->variable.set_requires_gradient(true);
  }
  ~Thawed() {
    for (Parameter* parameter : thawed_) parameter->variable.set_requires_gradient(false);
  }
  Thawed(const Thawed&) = delete;
  Thawed& operator=(const Thawed&) = delete;

 private:
  std::vector<Parameter*> thawed_;
};

/// The sum over batches of what `add(sum, gradient, share)` makes of each's gradients, share = 1 / batches.
template <class Add>
Signals sums_of_gradients(Module& model, const SignalData& data, const Add& add) {
  Signals signals;
  for_gradients(model, data, [&](Parameter& parameter, const Tensor& gradient) {
    Tensor& sum = signals.of_parameters[&parameter];
    if (!sum.defined()) sum = Tensor::zeros(parameter.shape(), DType::f32, gradient.device());
    add(sum, gradient, 1.0f / static_cast<float>(data.batches));
  });
  for (auto& [parameter, sum] : signals.of_parameters) sum = sum.to(Device::cpu);
  return signals;
}

/// Mean of (dL/dw)^2 over batches. Squared one by one, for near a minimum the gradients themselves cancel.
Signals mean_squares(Module& model, const Shape&, const Criterion&, const SignalData& data) {
  return sums_of_gradients(model, data, [](Tensor& sum, const Tensor& gradient, float share) {
    ESP_RUN(sum.device(), add_squares(sum.f32(), gradient.f32(), share, sum.elements()));
  });
}

/// Mean of dL/dw over batches.
Signals mean_gradients(Module& model, const Shape&, const Criterion&, const SignalData& data) {
  return sums_of_gradients(model, data, [](Tensor& sum, const Tensor& gradient, float share) {
    ESP_RUN(sum.device(), scale(sum.f32(), gradient.f32(), share, sum.elements(), true));
  });
}

constexpr const char* movement_state = "movement";

/// What the stage has added up so far.
Signals movements(Module& model, const Shape&, const Criterion&, const SignalData&) {
  Signals signals;
  for (const Parameter* parameter : model.parameters())
    if (const Tensor& sum = parameter->state_of(movement_state); sum.defined())
      signals.of_parameters[parameter] = sum.to(Device::cpu);
  return signals;
}

}  // namespace

const SignalKind& kind_of(Needs needs) {
  static const SignalKind kinds[] = {
      {},
      {.looks_at = "at the squares of batches' dL/dw", .data = true, .gather = mean_squares},
      {.looks_at = "at the squares of single images' dL/dw",
       .data = true,
       .single_images = true,
       .gather = mean_squares},
      {.looks_at = "at the mean of dL/dw", .data = true, .gather = mean_gradients},
      {.looks_at = "at H g, g the mean of dL/dw and H its derivative",
       .data = true,
       .gather = hessian_gradients,
       .asks_ops = true},
      {.looks_at = "at dR/d|w|, R the sum of what |w| make of an image of ones",
       .gather = synaptic_flow,
       .asks_ops = true},
      {.looks_at = "at the sum of w dL/dw over the stage's steps", .gather = movements},
      {.looks_at = "at the norms of its layer's inputs", .data = true, .gather = input_norms},
      {.looks_at = "at the products of its layer's inputs with each other",
       .data = true,
       .gather = input_products},
      {.looks_at = "at the inverse Fisher information of weights next to each other",
       .data = true,
       .single_images = true,
       .gather = inverse_fisher},
  };
  return kinds[static_cast<size_t>(needs)];
}

const float* Signals::of(const Criterion& criterion, const Parameter& parameter) const {
  if (criterion.needs == Needs::weights) return nullptr;
  const auto found = of_parameters.find(&parameter);
  ESP_CHECK(found != of_parameters.end() && found->second.shape() == parameter.shape(),
            "prune: ", criterion.name, " looks ", kind_of(criterion.needs).looks_at, ", and ", parameter.name,
            " has none of that");
  return found->second.f32();
}

Signals gather_signals(Module& model, const Shape& input, const Criterion& criterion,
                       const SignalData& data) {
  const SignalKind& kind = kind_of(criterion.needs);
  if (!kind.gather) return {};
  const InMode inference(model, false);
  const auto parameters = model.parameters();
  const Thawed thawed(parameters);
  for (Parameter* parameter : parameters) parameter->variable.clear_gradient();
  return kind.gather(model, input, criterion, data);
}

void start_movement(const std::vector<Parameter*>& parameters) {
  for (Parameter* parameter : parameters)
    if (parameter->learned())
      parameter->state[movement_state] =
          Tensor::zeros(parameter->shape(), DType::f32, parameter->value().device());
}

void add_movement(const std::vector<Parameter*>& parameters) {
  for (Parameter* parameter : parameters) {
    const auto sum = parameter->state.find(movement_state);
    if (sum == parameter->state.end() || !parameter->gradient().defined()) continue;
    const Tensor& w = parameter->value();
    ESP_RUN(w.device(), mul(sum->second.f32(), w.f32(), parameter->gradient().f32(), w.elements(), true));
  }
}

void end_movement(const std::vector<Parameter*>& parameters) {
  for (Parameter* parameter : parameters) parameter->state.erase(movement_state);
}

void check_signals(Module& model, const Shape& input, const Criterion& criterion) {
  const Device device = device_of(model.parameters());
  if (!kind_of(criterion.needs).asks_ops || device == Device::meta) return;
  const SignalBatch batch{Tensor::zeros({1, input[0], input[1], input[2]}, DType::f32, device),
                          Tensor::from({1}, std::vector<int32_t>{0}, device)};
  try {
    gather_signals(model, input, criterion,
                   {.batches = 1, .batch = [&](int64_t) { return batch; }, .loss = {}});
  } catch (const Error& error) {
    fail_usage(error.what());
  }
}

void for_gradients(Module& model, const SignalData& data,
                   const std::function<void(Parameter&, const Tensor& gradient)>& see) {
  const auto parameters = model.parameters();
  for (int64_t i = 0; i < data.batches; ++i) {
    const SignalBatch batch = data.batch(i);
    data.loss(model.forward(Variable(batch.images)), batch).backward();
    for (Parameter* parameter : parameters) {
      if (!parameter->gradient().defined()) continue;
      see(*parameter, parameter->gradient());
      parameter->variable.clear_gradient();
    }
  }
}

}  // namespace espalier

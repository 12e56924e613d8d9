#include "espalier/prune/signals.h"

#include "espalier/core/kernels.h"

namespace espalier {
namespace {

/// While it lives, frozen parameters have gradients, too: they are scored as all others are.
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

}  // namespace

Signals gather_signals(Module& model, Looks looks, int64_t batches,
                       const std::function<Variable(int64_t)>& loss) {
  Signals signals;
  if (looks == Looks::at_weights) return signals;
  const InMode inference(model, false);
  const auto parameters = model.parameters();
  const Thawed thawed(parameters);
  for (Parameter* parameter : parameters) parameter->variable.clear_gradient();
  for (int64_t batch = 0; batch < batches; ++batch) {
    loss(batch).backward();
    for (Parameter* parameter : parameters) {
      if (!parameter->gradient().defined()) continue;
      const Device device = parameter->value().device();
      Tensor& sum = signals.tensors[parameter];
      if (!sum.defined()) sum = Tensor::zeros(parameter->shape(), DType::f32, device);
      ESP_RUN(device, add_squares(sum.f32(), parameter->gradient().f32(), 1.0f / static_cast<float>(batches),
                                  sum.elements()));
      parameter->variable.clear_gradient();
    }
  }
  for (auto& [parameter, sum] : signals.tensors) sum = sum.to(Device::cpu);
  return signals;
}

}  // namespace espalier

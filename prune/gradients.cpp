#include "espalier/prune/gradients.h"

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

const float* GradientSquares::of(const Criterion& criterion, const Parameter& parameter, Needs needs) const {
  if (criterion.needs != needs) return nullptr;
  const auto found = of_parameters.find(&parameter);
  ESP_CHECK(found != of_parameters.end() && found->second.shape() == parameter.shape(),
            "prune: ", criterion.name, " has no ", needs == Needs::gradients ? "gradient" : "curvature",
            " of ", parameter.name);
  return found->second.f32();
}

GradientSquares gather_gradients(Module& model, Needs needs, int64_t batches,
                                 const std::function<Variable(int64_t)>& loss) {
  GradientSquares gradients;
  if (needs == Needs::weights) return gradients;
  const InMode inference(model, false);
  const auto parameters = model.parameters();
  const Thawed thawed(parameters);
  for (Parameter* parameter : parameters) parameter->variable.clear_gradient();
  for (int64_t batch = 0; batch < batches; ++batch) {
    loss(batch).backward();
    for (Parameter* parameter : parameters) {
      if (!parameter->gradient().defined()) continue;
      const Device device = parameter->value().device();
      Tensor& sum = gradients.of_parameters[parameter];
      if (!sum.defined()) sum = Tensor::zeros(parameter->shape(), DType::f32, device);
      ESP_RUN(device, add_squares(sum.f32(), parameter->gradient().f32(), 1.0f / static_cast<float>(batches),
                                  sum.elements()));
      parameter->variable.clear_gradient();
    }
  }
  for (auto& [parameter, sum] : gradients.of_parameters) sum = sum.to(Device::cpu);
  return gradients;
}

}  // namespace espalier

#include "espalier/nn/parameter.h"

#include <algorithm>

#include "espalier/core/kernels.h"

namespace espalier {

void Parameter::set_mask(Tensor kept) {
  ESP_CHECK(kept.dtype() == DType::u8 && kept.shape() == shape(), name, ": a mask is u8 of shape ", shape(),
            ", not ", dtype_name(kept.dtype()), kept.shape());
  mask = kept.to(value().device());
  const auto zero = [this](Tensor& tensor) {
    if (tensor.defined())
      ESP_RUN(tensor.device(), apply_mask(tensor.f32(), mask.data<uint8_t>(), tensor.elements()));
  };
  zero(value());
  zero(average);
  for (Tensor& slot : slots) zero(slot);
}

int64_t Parameter::nonzeros() const {
  if (value().device() == Device::meta) return value().elements();
  const Tensor host = value().to(Device::cpu);
  const auto numbers = host.span<float>();
  return static_cast<int64_t>(numbers.size()) - std::count(numbers.begin(), numbers.end(), 0.0f);
}

void Parameter::to(Device device) {
  if (is_count()) return;
  for (Tensor* tensor : {&value(), &gradient(), &mask, &average}) *tensor = tensor->to(device);
  for (Tensor& slot : slots) slot = slot.to(device);
}

Device device_of(const std::vector<Parameter*>& parameters) {
  const Parameter* first = nullptr;
  for (const Parameter* parameter : parameters) {
    if (parameter->is_count()) continue;
    if (!first) first = parameter;
    const Device device = first->value().device();
    ESP_CHECK(parameter->value().device() == device, parameter->name, ": is on ",
              device_name(parameter->value().device()), ", but ", first->name, " is on ",
              device_name(device));
  }
  return first ? first->value().device() : Device::cpu;
}

}  // namespace espalier

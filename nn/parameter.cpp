#include "espalier/nn/parameter.h"

#include <algorithm>

#include "espalier/core/kernels.h"

namespace espalier {

void Parameter::set_mask(Tensor kept) {
  ESP_CHECK(kept.dtype() == DType::u8 && kept.shape() == shape(), name, ": a mask is u8 of shape ", shape(),
            ", not ", dtype_name(kept.dtype()), kept.shape());
  mask = std::move(kept);
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
  const auto numbers = value().span<float>();
  return static_cast<int64_t>(numbers.size()) - std::count(numbers.begin(), numbers.end(), 0.0f);
}

std::string_view layer_name(std::string_view parameter_name) {
  return parameter_name.substr(0, parameter_name.rfind('.'));
}

Device device_of(const std::vector<Parameter*>& parameters) {
  if (parameters.empty()) return Device::cpu;
  const Parameter& first = *parameters.front();
  const Device device = first.value().device();
  for (const Parameter* parameter : parameters)
    ESP_CHECK(parameter->value().device() == device, parameter->name, ": is on ",
              device_name(parameter->value().device()), ", but ", first.name, " is on ", device_name(device));
  return device;
}

}  // namespace espalier

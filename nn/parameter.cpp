#include "espalier/nn/parameter.h"

#include <algorithm>

#include "espalier/core/kernels.h"

namespace espalier {

TensorUse use_of(std::string_view name) {
  if (name == "value") return TensorUse::value;
  if (name == "gradient") return TensorUse::gradient;
  if (name == "mask") return TensorUse::mask;
  if (name == "average") return TensorUse::stand_in;
  if (name == "stage") return TensorUse::stage;
  if (name.size() > 4 && name.starts_with("slot") && name.find_first_not_of("0123456789", 4) == name.npos)
    return TensorUse::optimizer;
  if (name.starts_with("unmasked_")) return TensorUse::unmasked;
  return TensorUse::method;
}

NamedState Parameter::tensors() const {
  NamedState all;
  for_tensors([&](std::string_view is, const Tensor& tensor) { all.emplace(is, tensor); });
  return all;
}

void Parameter::set_tensors(NamedState tensors) {
  const auto take = [&](const char* is) {
    const auto node = tensors.extract(is);
    return node.empty() ? Tensor() : node.mapped();
  };
  value() = take("value");
  gradient() = take("gradient");
  mask = take("mask");
  state = std::move(tensors);
}

const Tensor& Parameter::state_of(std::string_view name) const {
  static const Tensor none;
  const auto found = state.find(name);
  return found == state.end() ? none : found->second;
}

void Parameter::drop_state(TensorUse use) {
  std::erase_if(state, [=](const auto& one) { return use_of(one.first) == use; });
}

void Parameter::set_mask(Tensor kept) {
  ESP_CHECK(kept.dtype() == DType::u8 && kept.shape() == shape(), name, ": a mask is u8 of shape ", shape(),
            ", not ", dtype_name(kept.dtype()), kept.shape());
  mask = kept.to(value().device());
  for_tensors([this](std::string_view is, Tensor& tensor) {
    const TensorUse use = use_of(is);
    if (use != TensorUse::gradient && use != TensorUse::mask && use != TensorUse::unmasked)
      ESP_RUN(tensor.device(), apply_mask(tensor.f32(), mask.data<uint8_t>(), tensor.elements()));
  });
}

int64_t Parameter::nonzeros() const {
  if (value().device() == Device::meta) return value().elements();
  const Tensor host = value().to(Device::cpu);
  const auto numbers = host.span<float>();
  return static_cast<int64_t>(numbers.size()) - std::count(numbers.begin(), numbers.end(), 0.0f);
}

void Parameter::to(Device device) {
  if (is_count()) return;
  for_tensors([=](std::string_view, Tensor& tensor) { tensor = tensor.to(device); });
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

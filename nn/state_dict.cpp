#include "espalier/nn/state_dict.h"

#include <unordered_map>

#include "espalier/util/spelling.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

/// Both layouts are the same numbers with two inner axes swapped: memory [O,P,C], file [O,C,P], P pixels and
/// C channels.
struct Axes {
  int64_t o, p, c;
};
Axes axes_of(const Parameter& parameter) {
  const Shape& s = parameter.shape();
  if (parameter.layout.kind == FileLayout::oihw) return {s[0], s[1] * s[2], s[3]};
  return {s[0], parameter.layout.positions, s[1] / parameter.layout.positions};
}

template <class T>
void swap_inner(const T* from, T* to, int64_t o, int64_t rows, int64_t cols) {
  for (int64_t i = 0; i < o; ++i)
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c) to[(i * cols + c) * rows + r] = from[(i * rows + r) * cols + c];
}

/// `from` is on the CPU, or has no memory.
Tensor swapped(const Tensor& from, const Shape& shape, int64_t o, int64_t rows, int64_t cols) {
  Tensor to = Tensor::empty(shape, from.dtype());
  if (to.device() == Device::meta) return to;
  if (from.dtype() == DType::u8)
    swap_inner(from.data<uint8_t>(), to.data<uint8_t>(), o, rows, cols);
  else
    swap_inner(from.f32(), to.f32(), o, rows, cols);
  return to;
}

}  // namespace

Shape file_shape(const Parameter& parameter) {
  const Shape& s = parameter.shape();
  return parameter.layout.kind == FileLayout::oihw ? Shape{s[0], s[3], s[1], s[2]} : s;
}

Tensor to_file_layout(const Parameter& parameter, const Tensor& memory) {
  if (parameter.layout.kind == FileLayout::same) return memory.clone(Device::cpu);
  const Axes a = axes_of(parameter);
  return swapped(memory.to(Device::cpu), file_shape(parameter), a.o, a.p, a.c);
}

Tensor from_file_layout(const Parameter& parameter, const Tensor& file) {
  if (parameter.layout.kind == FileLayout::same) return file.clone();
  const Axes a = axes_of(parameter);
  return swapped(file, parameter.shape(), a.o, a.c, a.p);
}

NamedTensors state_dict(Module& model) {
  NamedTensors tensors;
  for (Parameter* parameter : model.parameters())
    tensors.emplace_back(parameter->name, to_file_layout(*parameter, parameter->value()));
  return tensors;
}

void load_state_dict(Module& model, const NamedTensors& tensors, const std::string& source) {
  std::unordered_map<std::string, const Tensor*> given;
  for (const auto& [name, tensor] : tensors)
    ESP_CHECK(given.emplace(name, &tensor).second, source, ": tensor '", printable(name), "' is there twice");
  const auto parameters = model.parameters();
  std::vector<std::string> foreign;  // in the file, not in the model
  for (const auto& [name, tensor] : tensors)
    if (!model.find(name)) foreign.push_back(name);
  for (Parameter* parameter : parameters) {
    const auto found = given.find(parameter->name);
    ESP_CHECK(found != given.end(), source, ": no tensor '", parameter->name, "', which the model needs",
              did_you_mean(parameter->name, foreign));
    const Tensor& tensor = *found->second;
    ESP_CHECK(tensor.shape() == file_shape(*parameter), source, ": '", parameter->name, "' has shape ",
              tensor.shape(), ", the model's is ", file_shape(*parameter));
    ESP_CHECK(tensor.dtype() == parameter->value().dtype(), source, ": '", parameter->name, "' holds ",
              dtype_name(tensor.dtype()), ", the model's holds ", dtype_name(parameter->value().dtype()));
  }
  ESP_CHECK(foreign.empty(), source, ": tensor '", printable(foreign.front()), "' is not the model's");
  for (const auto& [name, tensor] : tensors) {
    Parameter* parameter = model.find(name);
    parameter->value().copy_from(from_file_layout(*parameter, tensor));
  }
}

}  // namespace espalier

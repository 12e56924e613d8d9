#include "espalier/run/foreign_weights.h"

#include <algorithm>

#include "espalier/nn/state_dict.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

/// A name without what stands before a slash: "mask/fc1.weight" is of "fc1.weight".
std::string_view bare(std::string_view name) { return name.substr(name.find('/') + 1); }

/// A wrapper's prefix that all of the file's names have, and not all of the model's; empty if there is none.
std::string_view wrapper(const TensorFile& file, Module& model) {
  const auto parameters = model.parameters();
  for (const std::string_view prefix : {"module.", "_orig_mod.", "model."}) {
    const bool theirs = !file.tensors.empty() && std::ranges::all_of(file.tensors, [&](const auto& named) {
      return bare(named.first).starts_with(prefix);
    });
    const bool ours = std::ranges::all_of(
        parameters, [&](const Parameter* parameter) { return parameter->name.starts_with(prefix); });
    if (theirs && !ours) return prefix;
  }
  return {};
}

std::string take_off_wrappers(TensorFile& file, Module& model) {
  std::string taken;
  for (std::string_view prefix = wrapper(file, model); !prefix.empty(); prefix = wrapper(file, model)) {
    for (auto& [name, tensor] : file.tensors) name.erase(name.size() - bare(name).size(), prefix.size());
    taken += prefix;
  }
  return taken;
}

/// A tensor with its name, or null.
std::pair<std::string, Tensor>* find(TensorFile& file, const std::string& name) {
  const auto found = std::ranges::find(file.tensors, name, &std::pair<std::string, Tensor>::first);
  return found == file.tensors.end() ? nullptr : &*found;
}

/// What is left of `value` is multiplied by `mask`, as PyTorch does; returns where that is, u8 of 0 and 1.
template <class Number>
Tensor multiply(Tensor& value, const Tensor& mask) {
  Tensor kept = Tensor::empty(value.shape(), DType::u8);
  if (kept.device() == Device::meta) return kept;
  const Number* by = mask.data<Number>();
  for (int64_t i = 0; i < value.elements(); ++i) {
    kept.data<uint8_t>()[i] = by[i] != 0;
    value.f32()[i] = by[i] != 0 ? value.f32()[i] * static_cast<float>(by[i]) : 0.0f;
  }
  return kept;
}

void apply_pruning(TensorFile& file, const std::string& source) {
  constexpr std::string_view orig = "_orig";
  for (auto& [name, value] : file.tensors) {
    if (!name.ends_with(orig)) continue;
    const std::string whole = name.substr(0, name.size() - orig.size());
    auto* const mask = find(file, whole + "_mask");
    if (!mask || find(file, whole)) continue;  // another tool's _orig
    const DType type = mask->second.dtype();
    ESP_CHECK(value.dtype() == DType::f32 && (type == DType::f32 || type == DType::u8) &&
                  value.shape() == mask->second.shape(),
              source, ": '", printable(mask->first), "' is ", dtype_name(type), mask->second.shape(),
              ", expected f32 or u8 as large as '", printable(name), "', ", dtype_name(value.dtype()),
              value.shape());
    mask->second =
        type == DType::f32 ? multiply<float>(value, mask->second) : multiply<uint8_t>(value, mask->second);
    mask->first = "mask/" + whole;
    name = whole;
  }
}

void fill_in_counts(TensorFile& file, Module& model) {
  for (const Parameter* parameter : model.parameters())
    if (parameter->name.ends_with(".num_batches_tracked") && !file.find(parameter->name))
      file.tensors.emplace_back(parameter->name,
                                Tensor::zeros(file_shape(*parameter), parameter->value().dtype()));
}

}  // namespace

std::string adapt_foreign_weights(TensorFile& file, Module& model, const std::string& source) {
  std::string taken = take_off_wrappers(file, model);
  apply_pruning(file, source);
  fill_in_counts(file, model);
  return taken;
}

}  // namespace espalier

#include "espalier/onnx/importer.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "espalier/util/error.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

Shape shape_of(const OnnxDims& sizes) { return Shape(std::span<const int64_t>(sizes)); }

int64_t product(const OnnxDims& dims) { return shape_of(dims).elements(); }

/// PyTorch's exporters name a node after the modules it is in, "/layer1/layer1.0/conv1/Conv": a part that
/// begins with the one before it goes on where that ends.
std::string layer_of_path(const std::string& name) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    if (end > begin) parts.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  if (parts.size() > 1 && name[0] == '/') parts.pop_back();  // the op
  std::string layer, before;
  for (const std::string& part : parts) {
    if (!before.empty() && part.starts_with(before + "."))
      layer += part.substr(before.size());
    else
      layer += (layer.empty() ? "" : ".") + part;
    before = part;
  }
  return layer;
}

/// "layer1.0.conv1" of "layer1.0.conv1.weight"; empty for what is no name of PyTorch's.
std::string layer_of_parameter(const std::string& name) {
  if (name.find("::") != std::string::npos || name.find('/') != std::string::npos) return "";
  for (const char* end : {".weight", ".bias", ".gamma", ".beta", ".running_mean", ".running_var"})
    if (name.ends_with(end)) return name.substr(0, name.size() - std::string_view(end).size());
  return "";
}

/// Only what names here may have: '/' sets off what belongs to a parameter.
std::string allowed(std::string name) {
  if (!is_utf8(name)) name.clear();
  for (char& c : name)
    if (c == '/' || c == ':' || static_cast<unsigned char>(c) <= ' ') c = '_';
  return name;
}

}  // namespace

const OnnxConstant* OnnxImporter::constant(const std::string& name) const {
  const auto found = constants_.find(name);
  return found == constants_.end() ? nullptr : &found->second;
}

const OnnxConstant& OnnxImporter::needed_constant(const OnnxNode& node, size_t input,
                                                  const char* what) const {
  const OnnxConstant* found = constant(node, input);
  ESP_CHECK(found, "its ", what, node.has(input) ? " depends on the images" : " is missing",
            ", expected a constant");
  return *found;
}

std::optional<std::vector<int64_t>> OnnxImporter::numbers(const OnnxNode& node, const std::string& attribute,
                                                          size_t input) const {
  if (!node.has(input)) return node.list(attribute);
  const OnnxConstant& found = needed_constant(node, input, attribute.c_str());
  ESP_CHECK(found.is_whole(), "its ", attribute, " are no whole numbers");
  return found.integers;
}

float OnnxImporter::one_number(const OnnxNode& node, const char* attribute, size_t input,
                               float otherwise) const {
  if (!node.has(input)) return node.real(attribute).value_or(otherwise);
  const OnnxConstant& found = needed_constant(node, input, attribute);
  ESP_CHECK(!found.is_whole() && found.elements() == 1 && !std::isnan(found.numbers[0]), "its ", attribute,
            " is not one float");
  return found.numbers[0];
}

void OnnxImporter::put_like(const OnnxNode& node, OnnxValue value, Variable variable) {
  value.variable = std::move(variable);
  put(node, std::move(value));
}

const OnnxValue* OnnxImporter::value(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : &found->second;
}

const OnnxValue& OnnxImporter::value(const OnnxNode& node, size_t input) const {
  const OnnxValue* found = value(node.input(input));
  ESP_CHECK(found, "its input ", input, node.has(input) ? " is a constant" : " is missing",
            ", expected what depends on the images");
  return *found;
}

Variable OnnxImporter::image(const OnnxNode& node, size_t input) {
  const OnnxValue& found = value(node, input);
  ESP_CHECK(found.dims.size() == 4, "of ", shape_of(found.dims), ", expected images [N,C,H,W]");
  return arranged(found, image_layout).variable;
}

void OnnxImporter::put_image(const OnnxNode& node, Variable variable) {
  const Shape& s = variable.shape();
  put(node, {.variable = variable, .dims = {s[0], s[3], s[1], s[2]}, .layout = image_layout});
}

namespace {

Variable moved_to(const OnnxValue& value, const OnnxLayout& layout) {
  const OnnxDims before = in_memory(value.dims, value.layout), after = in_memory(value.dims, layout);
  const auto axes = moves(value.layout, layout);
  OnnxDims long_axes;  // where only axes of one number change their places, nothing moves
  for (const int64_t axis : axes)
    if (before[static_cast<size_t>(axis)] != 1) long_axes.push_back(axis);
  if (!std::ranges::is_sorted(long_axes)) return ops::permute(value.variable, axes);
  return before == after ? value.variable : ops::reshape(value.variable, {after.begin() + 1, after.end()});
}

}  // namespace

OnnxValue OnnxImporter::arranged(OnnxValue value, const OnnxLayout& layout) {
  if (value.positions > 1) {  // [P,C] becomes [C,P]
    const int64_t channels = value.dims[1] / value.positions;
    const Variable apart = ops::reshape(value.variable, {value.positions, channels});
    value.variable = ops::reshape(ops::permute(apart, {0, 2, 1}), {value.dims[1]});
    value.positions = 1;
  }
  if (value.layout == layout) return value;
  auto& moved = arranged_[{value.variable.state().get(), layout}];
  if (!moved.defined()) moved = moved_to(value, layout);
  value.variable = moved;
  value.layout = layout;
  return value;
}

OnnxValue OnnxImporter::reshaped(OnnxValue value, const OnnxDims& dims) {
  if (dims == value.dims) return value;
  ESP_CHECK(!dims.empty() && dims[0] == 1 && value.dims[0] == 1 && product(dims) == product(value.dims),
            "from ", shape_of(value.dims), " to ", shape_of(dims),
            " for one image, expected as many numbers, and images apart");
  if (value.positions > 1) value = plain(std::move(value));
  if (value.dims.size() == 4 && dims.size() == 2 && value.layout == image_layout) {
    const int64_t channels = value.dims[1], pixels = value.dims[2] * value.dims[3];
    return {.variable = ops::flatten(value.variable),
            .dims = dims,
            .layout = plain_layout(2),
            .positions = channels > 1 ? pixels : 1};
  }
  auto layout = reshaped_layout(value.dims, value.layout, dims);
  if (!layout) {
    value = plain(std::move(value));
    layout = reshaped_layout(value.dims, value.layout, dims);
  }
  const OnnxDims sizes = in_memory(dims, *layout);
  if (sizes != in_memory(value.dims, value.layout))
    value.variable = ops::reshape(value.variable, {sizes.begin() + 1, sizes.end()});
  value.dims = dims;
  value.layout = *layout;
  return value;
}

Variable OnnxImporter::parameter(const std::string& wanted, const OnnxConstant& numbers, const Shape& file,
                                 const Shape& memory) {
  ESP_CHECK(!numbers.is_whole(), "'", printable(wanted), "' holds whole numbers, expected f32");
  ESP_CHECK(file.elements() == numbers.elements(), "'", printable(wanted), "' has ", numbers.elements(),
            " numbers, expected ", file);
  // Exporters write vectors that happen to be equal once, such as biases of zeros: those are shared only
  // where the layer's weight is, and `wanted` the same.
  const std::string key = numbers.name.empty() ? ""
                          : file.axes() > 1    ? numbers.name + " " + file.str() + " " + memory.str()
                                               : numbers.name + " of " + wanted;
  if (const auto found = parameters_.find(key); !key.empty() && found != parameters_.end())
    return found->second;
  std::string name = wanted;
  for (int i = 2; !names_.insert(name).second; ++i) {
    const size_t dot = wanted.rfind('.');
    name = dot == std::string::npos ? join(wanted, "_", i)
                                    : join(wanted.substr(0, dot), "_", i, wanted.substr(dot));
  }
  tensors_.emplace_back(name, Tensor::from(file, numbers.numbers));
  Variable made(Tensor::empty(memory, DType::f32, Device::meta), true, name);
  if (!key.empty()) parameters_[key] = made;
  return made;
}

Variable OnnxImporter::parameter_beside(const Variable& weight, const char* name,
                                        const OnnxConstant& numbers) {
  const Shape shape{numbers.elements()};
  return parameter(std::string(layer_name(weight.name())) + "." + name, numbers, shape, shape);
}

Variable OnnxImporter::numbers_beside(const OnnxNode& node, OnnxConstant numbers, const Shape& shape,
                                      size_t input) {
  const std::string name = std::exchange(numbers.name, "");
  const bool is_named =
      !name.empty() && name.find('/') == std::string::npos && name.find(':') == std::string::npos;
  return parameter(is_named ? name : layer_of(node, input) + ".numbers", numbers, shape, shape);
}

void OnnxImporter::note_once(const std::string& line) {
  if (std::ranges::count(notes, line) == 0) notes.push_back(line);
}

void OnnxImporter::add_buffer(const std::string& name, Tensor tensor) {
  if (names_.insert(name).second) tensors_.emplace_back(name, std::move(tensor));
}

std::string OnnxImporter::layer_of(const OnnxNode& node, size_t weight) {
  // Of several names that exporters gave equal vectors once, another's is no good.
  std::vector<std::string> names;
  for (size_t i = weight; i < node.inputs.size(); ++i) names.push_back(layer_of_parameter(node.inputs[i]));
  names.push_back(layer_of_path(node.name));
  const std::string& own = node.input(weight);
  names.push_back(own.ends_with(".weight") ? own.substr(0, own.size() - 7) : own);
  std::string first;
  for (std::string& name : names) {
    name = allowed(name);
    if (name.empty()) continue;
    if (layers_.insert(name).second) return name;
    if (first.empty()) first = name;
  }
  return first.empty() ? "layer" : first;
}

}  // namespace espalier

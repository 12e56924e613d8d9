#include "espalier/onnx/exporter.h"

#include <cstring>

#include "espalier/util/error.h"

namespace espalier {
namespace {

void set(onnx::AttributeProto& to, const OnnxExporter::Attribute& value) {
  using onnx::AttributeProto;
  if (const auto* whole = std::get_if<int64_t>(&value)) {
    to.set_type(AttributeProto::INT);
    to.set_i(*whole);
  } else if (const auto* real = std::get_if<float>(&value)) {
    to.set_type(AttributeProto::FLOAT);
    to.set_f(*real);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    to.set_type(AttributeProto::STRING);
    to.set_s(*text);
  } else {
    to.set_type(AttributeProto::INTS);
    for (const int64_t one : std::get<std::vector<int64_t>>(value)) to.add_ints(one);
  }
}

void set(onnx::TensorProto& to, const std::string& name, const Tensor& numbers) {
  to.set_name(name);
  to.set_data_type(onnx::TensorProto::FLOAT);
  for (const int64_t size : numbers.shape().sizes()) to.add_dims(size);
  to.set_raw_data(numbers.raw(), numbers.bytes());
}

}  // namespace

OnnxExporter::OnnxExporter(const Graph& from, const NamedTensors& tensors, const OnnxExportOptions& with,
                           onnx::GraphProto& to)
    : graph(from), options(with), to_(to) {
  for (const auto& [name, tensor] : tensors) tensors_[name] = &tensor;
  for (const GraphValue& each : graph.values) names_.insert(each.parameter);
  names_.insert({graph.input_name, graph.output_name});
}

std::string OnnxExporter::unique(std::string name) {
  std::string made = name;
  for (int i = 2; !names_.insert(made).second; ++i) made = join(name, "_", i);
  return made;
}

void OnnxExporter::put(int number, std::string name, Lies lies) {
  lies_[number] = lies;
  values_[{number, lies}] = std::move(name);
}

void OnnxExporter::put(const GraphNode& node, std::string name, Lies lies) {
  put(node.output, std::move(name), lies);
}

std::string OnnxExporter::value(int number, Lies wanted) {
  const auto found = values_.find({number, wanted});
  if (found != values_.end()) return found->second;
  const Lies from = lies(number);
  const std::string name = values_.at({number, from});
  std::string made;
  if (from == channels_first) {  // [N,C P] to [N,P C]
    const GraphNode* flatten = graph.maker_of(number);
    while (flatten && flatten->op != "flatten") flatten = graph.maker_of(flatten->inputs[0]);
    ESP_CHECK(flatten && wanted == as_here, "onnx: no way to write features in that order");
    const Shape& image = graph.shape(flatten->inputs[0]);
    const int64_t pixels = image[1] * image[2];
    const std::string apart = add("Reshape", {name, sizes("sizes", {0, image[3], pixels})});
    made = add("Reshape", {add("Transpose", {apart}, {{"perm", std::vector<int64_t>{0, 2, 1}}}),
                           sizes("sizes", {0, pixels * image[3]})});
  } else {
    ESP_CHECK(graph.shape(number).axes() == 4, "onnx: expected images, found ", graph.shape(number));
    const bool to_image = wanted == image;
    made = add("Transpose", {name},
               {{"perm", to_image ? std::vector<int64_t>{0, 3, 1, 2} : std::vector<int64_t>{0, 2, 3, 1}}});
  }
  values_[{number, wanted}] = made;
  return made;
}

std::string OnnxExporter::add(const std::string& op, const Inputs& inputs, const Attributes& attributes) {
  return add({.op = op, .attributes = {}, .inputs = {}, .output = -1, .channels = {}}, op, inputs,
             attributes);
}

std::string OnnxExporter::add(const GraphNode& of, const std::string& op, const Inputs& inputs,
                              const Attributes& attributes) {
  const std::string layer = graph.layer_of(of);
  onnx::NodeProto& node = *to_.add_node();
  const std::string name = unique(layer.empty() ? op : layer + "/" + op);
  node.set_op_type(op);
  node.set_name(name);
  for (const std::string& input : inputs) node.add_input(input);
  const std::string output = unique(name + "_output");
  node.add_output(output);
  for (const auto& [key, value] : attributes) {
    onnx::AttributeProto& to = *node.add_attribute();
    to.set_name(key);
    set(to, value);
  }
  return output;
}

const Tensor& OnnxExporter::tensor(int number) const {
  const std::string& name = graph.values[static_cast<size_t>(number)].parameter;
  const auto found = tensors_.find(name);
  ESP_CHECK(found != tensors_.end(), "onnx: the model has no '", name, "'");
  return *found->second;
}

std::string OnnxExporter::parameter(int number) { return stored(number, "", tensor(number)); }

std::string OnnxExporter::parameter_as(int number, const std::string& form, const Tensor& numbers) {
  return stored(number, form, numbers);
}

/// The first form that a parameter is read in has its name; others are constants beside it.
std::string OnnxExporter::stored(int number, const std::string& form, const Tensor& numbers) {
  std::string& name = parameters_[{number, form}];
  if (!name.empty()) return name;
  const std::string& own = graph.values[static_cast<size_t>(number)].parameter;
  if (!named_.insert(number).second)
    return name = constant(own + "_" + (form.empty() ? "plain" : form), numbers);
  set(*to_.add_initializer(), own, numbers);
  return name = own;
}

std::string OnnxExporter::constant(const std::string& name, const Tensor& numbers) {
  const std::string made = unique(name);
  set(*to_.add_initializer(), made, numbers);
  return made;
}

std::string OnnxExporter::sizes(const std::string& name, const std::vector<int64_t>& values) {
  onnx::TensorProto& to = *to_.add_initializer();
  const std::string made = unique(name);
  to.set_name(made);
  to.set_data_type(onnx::TensorProto::INT64);
  to.add_dims(std::ssize(values));
  to.set_raw_data(values.data(), values.size() * sizeof(int64_t));
  return made;
}

const GraphNode* OnnxExporter::folded_norm(const GraphNode& conv) const {
  return options.fold_batchnorm && conv.op == "conv2d" ? fused_behind(graph, conv) : nullptr;
}

}  // namespace espalier

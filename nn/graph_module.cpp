#include "espalier/nn/graph_module.h"

#include <algorithm>
#include <optional>

#include "espalier/core/utf8.h"
#include "espalier/formats/input_file.h"
#include "espalier/formats/safetensors.h"
#include "espalier/graph/graph_json.h"
#include "espalier/nn/history_json.h"

namespace espalier {
namespace {

/// Where a parameter stands first in a graph.
struct Place {
  const GraphNode& node;
  size_t input;
  const Op* op;  // or null
};

std::optional<Place> place_of(const Graph& graph, int value) {
  for (const GraphNode& node : graph.nodes)
    if (const auto at = std::ranges::find(node.inputs, value); at != node.inputs.end())
      return Place{node, static_cast<size_t>(at - node.inputs.begin()), find_op(node.op)};
  return std::nullopt;
}

/// What the row says of an input; of a program's own op: any number.
OpInput input_of(const Place& place) {
  const bool has_row = place.op && place.input < place.op->inputs.size();
  return has_row ? place.op->inputs[place.input] : OpInput{"", OpInput::optional, Role::scale};
}

/// The axis of a parameter that counts its layer's input channels; -1: none, as of a depthwise convolution's
/// weight.
int input_axis(const Graph& graph, const Place& place, Role role) {
  const auto& [rule, values] = place.node.channels;
  if (rule != Channels::mixed) return 0;
  const int64_t groups = values.empty() ? 1 : values[0];
  const bool mixes = role == Role::weight && (groups == 1 || groups < graph.shape(place.node.inputs[0])[-1]);
  return mixes ? graph.shape(place.node.inputs[place.input]).axes() - 1 : -1;
}

}  // namespace

/// Parameters that share the beginning of their names.
class GraphModule::Layer : public Module {
 public:
  explicit Layer(std::string type) : type_(std::move(type)) {}
  Variable forward(const Variable&) override { fail(type_, ": is run by its network"); }
  std::string type() const override { return type_; }
  std::vector<ChannelAxes> channel_axes() const override { return axes_; }
  Parameter& add(const std::string& name, Role role, Tensor value, FileLayout layout, int out, int in) {
    if (out >= 0) axes_.push_back({name, out, in});
    return add_parameter(name, role, std::move(value), layout);
  }

 private:
  std::string type_;
  std::vector<ChannelAxes> axes_;
};

GraphModule::GraphModule(Graph graph, const NamedTensors& tensors) : graph_(std::move(graph)) {
  std::map<std::string, int> numbers;
  for (int i = 0; i < static_cast<int>(graph_.values.size()); ++i)
    if (graph_.is_parameter(i)) numbers[graph_.values[static_cast<size_t>(i)].parameter] = i;
  parameters_.resize(graph_.values.size());
  for (const auto& [name, tensor] : tensors)
    if (const auto found = numbers.find(name); found != numbers.end()) add(found->second);
  for (const GraphNode& node : graph_.nodes) {
    for (const int input : node.present()) {
      last_use_[input] = &node;
      if (graph_.is_parameter(input)) add(input);
    }
    if (const GraphNode* second = fused_behind(graph_, node)) behind_[&node] = second, front_[second] = &node;
  }
  for (const auto& [name, tensor] : tensors)
    if (name.find('/') == name.npos && !find(name))
      add(name, "layer", Role::buffer, Tensor::zeros(tensor.shape(), tensor.dtype()), {}, -1, -1);
}

Parameter& GraphModule::add(int value) {
  Parameter*& parameter = parameters_[static_cast<size_t>(value)];
  if (parameter) return *parameter;
  const GraphValue& wanted = graph_.values[static_cast<size_t>(value)];
  const auto place = place_of(graph_, value);
  ESP_CHECK(place, "graph: no op reads the parameter '", printable(wanted.parameter), "'");
  const OpInput input = input_of(*place);
  const Role role = input.role.value_or(Role::scale);
  const std::string layer(layer_name(wanted.parameter));
  // A norm that has PyTorch's names is a layer that counts its batches.
  if (place->op && place->op->normalizes_batch && wanted.parameter == layer + "." + std::string(input.name)) {
    BatchNorm2d*& norm = norms_[layer];
    const OpCall call(graph_, place->node, *place->op);
    if (!norm)
      norm = &add_child<BatchNorm2d>(layer, wanted.shape.elements(), call.real("eps"), call.real("momentum"));
    parameter = find(wanted.parameter);
  } else {
    parameter =
        &add(wanted.parameter, place->op ? place->op->name : "layer", role, Tensor::zeros(wanted.shape),
             file_layout(graph_, value), 0, input_axis(graph_, *place, role));
  }
  return *parameter;
}

Parameter& GraphModule::add(const std::string& name, const std::string& type, Role role, Tensor numbers,
                            FileLayout layout, int out, int in) {
  const std::string layer(layer_name(name));
  if (layer == name) return add_parameter(name, role, std::move(numbers), layout);
  auto& found = layers_[layer];
  if (!found) found = &add_child<Layer>(layer, type);
  Parameter& added = found->add(name.substr(layer.size() + 1), role, std::move(numbers), layout, out, in);
  added.name = name;
  added.variable.set_name(name);
  return added;
}

Variable GraphModule::forward(const Variable& x) {
  std::vector<Variable> values(graph_.values.size());
  values[0] = x;
  for (size_t i = 0; i < values.size(); ++i)
    if (parameters_[i]) values[i] = parameters_[i]->variable;
  Variable y;
  for (const GraphNode& node : graph_.nodes) {
    if (behind_.contains(&node)) continue;  // run with the node behind it
    y = run(node, values);
    const auto forget = [&](const GraphNode& done) {  // what is not looked at any more takes no memory
      for (const int input : done.present())
        if (last_use_.at(input) == &done) values[static_cast<size_t>(input)] = {};
    };
    if (const auto front = front_.find(&node); front != front_.end()) forget(*front->second);
    forget(node);
    values[static_cast<size_t>(node.output)] = y;
  }
  return y;
}

Variable GraphModule::run(const GraphNode& node, const std::vector<Variable>& values) {
  const auto inputs_of = [&](const GraphNode& of) {
    std::vector<Variable> inputs;
    for (const int input : of.inputs)
      inputs.push_back(input == GraphNode::absent ? Variable() : values[static_cast<size_t>(input)]);
    return inputs;
  };
  const std::vector<Variable> inputs = inputs_of(node);
  const Op* op = find_op(node.op);
  if (!op || !op->run) return placeholder(node, inputs);
  const OpCall call(graph_, node, *op);
  OpArguments arguments{call, inputs, training()};
  if (const auto norm = norms_.find(graph_.layer_of(node)); norm != norms_.end()) {
    arguments.training = norm->second->training();
    arguments.momentum = norm->second->begin_batch();
  }
  const auto front = front_.find(&node);
  if (front == front_.end()) return op->run(arguments);
  const GraphNode& first = *front->second;
  const Op& first_op = *find_op(first.op);
  const std::vector<Variable> first_inputs = inputs_of(first);
  const OpCall first_call(graph_, first, first_op);
  return first_op.run_fused({first_call, first_inputs, training()}, arguments);
}

/// Of an op that is a program's own all is known but its numbers, which is enough for a trace.
Variable GraphModule::placeholder(const GraphNode& node, const std::vector<Variable>& inputs) const {
  ESP_CHECK(OpObserver::active(), "op '", printable(node.op),
            "' is none of Espalier's: only the program that has it can run this network");
  Attributes attributes;
  for (const auto& [name, attribute] : node.attributes) attributes.emplace_back(name, attribute);
  return record({.op = node.op,
                 .attributes = std::move(attributes),
                 .inputs = inputs,
                 .output = Tensor::zeros(graph_.shape(node.output)),
                 .channels = node.channels,
                 .backward = {}});
}

std::unique_ptr<GraphModule> read_graph_module(const std::string& file) {
  require_file(file);
  if (!file.ends_with(".safetensors"))
    return std::make_unique<GraphModule>(graph_from_json(read_file(file), file));
  TensorFile weights;
  {
    const MetaDevice header_alone;
    weights = read_safetensors(file);
  }
  const auto text = [&](const char* key) {
    const auto found = weights.metadata.find(key);
    return found == weights.metadata.end() ? "" : found->second;
  };
  const std::string network = text("espalier.network"), history = text("espalier.history");
  ESP_CHECK(!network.empty(), file, ": has no 'espalier.network' in its metadata: no file of Espalier's");
  auto made = std::make_unique<GraphModule>(graph_from_json(network, file + ": its network cannot be read"),
                                            weights.tensors);
  if (!history.empty()) made->history = history_from(history, file);
  return made;
}

FileLayout file_layout(const Graph& graph, int number) {
  for (const GraphNode& node : graph.nodes) {
    const auto at = std::ranges::find(node.inputs, number);
    const Op* op = find_op(node.op);
    if (at == node.inputs.end() || !op) continue;
    const OpInput input = input_of({node, static_cast<size_t>(at - node.inputs.begin()), op});
    if (input.is_oihw) return {FileLayout::oihw};
    if (input.role != Role::weight) continue;
    const GraphNode* from =
        graph.maker_of(node.inputs[0]);  // of features: through what keeps them to the flatten
    while (from && (from->channels.rule == Channels::kept || from->channels.rule == Channels::tied))
      from = graph.maker_of(from->inputs[0]);
    if (!from || from->channels.rule != Channels::flattened || from->channels.values.empty()) return {};
    const int64_t positions = from->channels.values[0];
    const Shape& weight = graph.shape(number);
    // Of one channel or one pixel both orders of columns are the same.
    if (positions <= 1 || weight.axes() != 2 || weight[1] <= positions || weight[1] % positions != 0)
      return {};
    return {FileLayout::flattened, positions};
  }
  return {};
}

}  // namespace espalier

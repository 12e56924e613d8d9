#include "espalier/nn/graph_module.h"

#include <algorithm>
#include <optional>

#include "espalier/formats/safetensors.h"
#include "espalier/graph/graph_json.h"
#include "espalier/nn/history_json.h"
#include "espalier/nn/network_formats.h"
#include "espalier/util/input_file.h"
#include "espalier/util/utf8.h"

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
  std::map<const GraphNode*, const GraphNode*> in_front;  // what runs together with the node after it
  for (const GraphNode& node : graph_.nodes) {
    for (const int input : node.present())
      if (graph_.is_parameter(input)) add(input);
    if (const GraphNode* next = fused_behind(graph_, node))
      in_front[next] = &node;
    else
      add_step(node, in_front.contains(&node) ? in_front.at(&node) : nullptr);
  }
  std::map<int, Step*> last_use;
  for (Step& step : steps_)
    for (const int input : step.inputs()) last_use[input] = &step;
  for (const auto& [value, step] : last_use) step->done_with.push_back(value);
  for (const auto& [name, tensor] : tensors)
    if (name.find('/') == name.npos && !find(name))
      add(name, "layer", Role::buffer, Tensor::zeros(tensor.shape(), tensor.dtype()), {}, -1, -1);
}

void GraphModule::add_step(const GraphNode& node, const GraphNode* in_front) {
  const auto call_of = [&](const GraphNode* of) -> std::optional<OpCall> {
    const Op* op = of ? find_op(of->op) : nullptr;
    if (!op || !op->run) return std::nullopt;
    return OpCall(graph_, *of, *op);
  };
  const auto norm = norms_.find(graph_.layer_of(node));
  steps_.push_back({.node = node,
                    .call = call_of(&node),
                    .in_front = call_of(in_front),
                    .norm = norm == norms_.end() ? nullptr : norm->second});
}

std::vector<int> GraphModule::Step::inputs() const {
  std::vector<int> all;
  if (in_front) all = in_front->node.present();
  for (const int input : node.present()) all.push_back(input);
  return all;
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
  auto& found = layers_[layer];
  if (!found) found = &add_child<Layer>(layer, type);
  const std::string own = layer == name ? "" : name.substr(layer.size() + 1);
  Parameter& added = found->add(own, role, std::move(numbers), layout, out, in);
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
  for (const Step& step : steps_) {
    y = run(step, values);
    for (const int done : step.done_with) values[static_cast<size_t>(done)] = {};  // it takes no more memory
    values[static_cast<size_t>(step.node.output)] = y;
  }
  return y;
}

Variable GraphModule::run(const Step& step, const std::vector<Variable>& values) const {
  const std::vector<Variable> inputs = inputs_of(step.node, values);
  if (!step.call) return placeholder(step.node, inputs);
  OpArguments arguments{*step.call, inputs, training()};
  if (step.norm) {
    arguments.training = step.norm->training();
    arguments.momentum = step.norm->begin_batch();
  }
  if (!step.in_front) return step.call->op.run(arguments);
  const std::vector<Variable> first_inputs = inputs_of(step.in_front->node, values);
  return step.in_front->op.run_fused({*step.in_front, first_inputs, training()}, arguments);
}

/// Of an op that is a program's own all is known but its numbers, which is enough for a trace.
Variable GraphModule::placeholder(const GraphNode& node, const std::vector<Variable>& inputs) const {
  const OpObserver* const observer = OpObserver::active();
  ESP_CHECK(observer && observer->describes(), "op '", printable(node.op),
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

namespace {

/// A file's tensors lie by name; a network's as its ops read them, weights before biases, and buffers last.
NamedTensors in_reading_order(const Graph& graph, NamedTensors tensors) {
  std::map<std::string_view, size_t> place;
  for (size_t i = 0; i < graph.values.size(); ++i) place.emplace(graph.values[i].parameter, i);
  std::ranges::stable_sort(tensors, {}, [&](const auto& named) {
    const auto found = place.find(named.first);
    return found == place.end() ? graph.values.size() : found->second;
  });
  return tensors;
}

}  // namespace

std::unique_ptr<GraphModule> graph_module_of(const TensorFile& file, const std::string& source) {
  const auto network = file.metadata.find("espalier.network"),
             history = file.metadata.find("espalier.history"), none = file.metadata.end();
  ESP_CHECK(network != none, source,
            ": has no 'espalier.network' in its metadata: not a file of Espalier's that says its network");
  Graph graph = graph_from_json(network->second, source + ": its network cannot be read");
  const NamedTensors tensors = in_reading_order(graph, file.tensors);
  auto made = std::make_unique<GraphModule>(std::move(graph), tensors);
  if (history != none) made->history = history_from(history->second, source);
  return made;
}

std::unique_ptr<GraphModule> read_graph_module(const std::string& file) {
  require_file(file);
  if (!is_network_file(file))
    return std::make_unique<GraphModule>(graph_from_json(read_file(file), file));
  return graph_module_of(read_network_header(file), file);
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

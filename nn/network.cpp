#include "espalier/nn/network.h"

#include <algorithm>
#include <set>

#include "espalier/graph/op.h"
#include "espalier/graph/trace.h"
#include "espalier/nn/state_dict.h"

namespace espalier {
namespace {

/// One image of zeros through the model in inference mode, seen by `trace`.
void trace_pass(Module& model, const Shape& input, Trace& trace) {
  ESP_CHECK(input.axes() == 3, "network: expects one image [H,W,C], found ", input);
  const InMode inference(model, false);
  const NoGradient off;
  model.forward(
      Variable(Tensor::zeros({1, input[0], input[1], input[2]}, DType::f32, device_of(model.parameters()))));
  trace.close();
}

/// Error for a parameter that an op reads and the model does not own.
void check_parameters(Module& model, const Graph& graph) {
  std::set<std::string> own;
  for (const Parameter* parameter : model.parameters()) own.insert(parameter->name);
  for (const GraphNode& node : graph.nodes)
    for (const int input : node.present()) {
      const std::string& name = graph.values[static_cast<size_t>(input)].parameter;
      ESP_CHECK(name.empty() || own.contains(name), "network: a ", node.op, " computes with a parameter '",
                name, "' that is not the model's: add_child makes layers that are");
    }
}

double bytes_of(const Tensor& tensor) { return static_cast<double>(tensor.bytes()); }

void add_parameter(LayerRow& row, NetworkTotals& totals, const Parameter& parameter) {
  const int64_t count = parameter.value().elements();
  totals.bytes += static_cast<int64_t>(parameter.value().bytes());
  if (!parameter.learned()) return;
  const int64_t nonzeros = parameter.nonzeros();
  if (row.parameters == 0) row.shape = file_shape(parameter);  // the weight comes first
  row.parameters += count;
  row.nonzeros += nonzeros;
  if (parameter.role != Role::weight) return;
  row.weights += count;
  row.weight_zeros += count - nonzeros;
}

}  // namespace

int64_t macs_of(const Graph& graph, const GraphNode& node) {
  if (const Op* op = find_op(node.op)) return op->macs ? op->macs(OpCall(graph, node, *op)) : 0;
  if (node.channels.rule != Channels::mixed) return 0;  // a program's own op
  const Shape& output = graph.shape(node.output);
  return output.row_elements() / output[-1] * graph.shape(node.inputs[1]).elements();
}

std::unordered_map<std::string, int64_t> macs_by_weight(const Graph& graph) {
  std::unordered_map<std::string, int64_t> macs;
  for (const GraphNode& node : graph.nodes) {
    const int64_t count = macs_of(graph, node);
    if (count == 0) continue;
    std::string weight;
    for (const int input : node.present())
      if (weight.empty()) weight = graph.values[static_cast<size_t>(input)].parameter;
    macs[weight] += count;
  }
  return macs;
}

double activation_bytes(Module& model, const Shape& input) {
  Trace trace;
  trace_pass(model, input, trace);
  const Graph& graph = trace.graph;
  std::set<std::string> frozen;
  for (const Parameter* parameter : model.parameters())
    if (parameter->frozen() || !parameter->learned()) frozen.insert(parameter->name);

  const size_t count = graph.values.size();
  std::vector<char> learns(count);  // values that have a gradient,
  std::vector<char> kept(count);    // and those that it needs
  for (size_t i = 0; i < count; ++i)
    learns[i] = graph.is_parameter(static_cast<int>(i)) && !frozen.contains(graph.values[i].parameter);
  for (const GraphNode& node : graph.nodes) {
    char& output = learns[static_cast<size_t>(node.output)];
    for (const int in : node.present()) output |= learns[static_cast<size_t>(in)];
    if (!output) continue;
    kept[static_cast<size_t>(node.output)] = 1;
    for (const int in : node.present()) kept[static_cast<size_t>(in)] = 1;
  }
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node)
    if (trace.reshapes(*node))
      kept[static_cast<size_t>(node->inputs.front())] |= kept[static_cast<size_t>(node->output)];

  const auto bytes = [&](int value, bool of_kept) {
    const auto i = static_cast<size_t>(value);
    return !graph.is_parameter(value) && kept[i] == of_kept ? bytes_of(trace.tensor(value)) : 0.0;
  };
  double total = bytes(0, true), passing = bytes(0, false);
  for (const GraphNode& node : graph.nodes) {
    if (trace.reshapes(node)) continue;
    total += bytes(node.output, true);
    double here = bytes(node.output, false);
    for (const int in : node.present()) here += bytes(in, false);
    passing = std::max(passing, here);
  }
  return total + passing;
}

Network::Network(Module& model, const Shape& input) {
  Trace trace;
  trace_pass(model, input, trace);
  graph = std::move(trace.graph);
  check_parameters(model, graph);

  const auto macs = macs_by_weight(graph);
  for (const auto& [name, layer] : model.layers()) {
    LayerRow row{.name = name, .type = layer->type(), .shape = {}};
    for (const auto& parameter : layer->own_parameters()) {
      add_parameter(row, totals, *parameter);
      if (const auto found = macs.find(parameter->name); found != macs.end()) row.macs += found->second;
    }
    totals.parameters += row.parameters;
    totals.nonzeros += row.nonzeros;
    totals.macs += row.macs;
    totals.weights += row.weights;
    totals.weight_zeros += row.weight_zeros;
    layers.push_back(std::move(row));
  }
  if (const auto found = macs.find(""); found != macs.end()) totals.macs += found->second;
}

}  // namespace espalier

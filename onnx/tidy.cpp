#include "espalier/onnx/tidy.h"

#include <algorithm>

#include "espalier/core/kernels.h"
#include "espalier/graph/op.h"
#include "espalier/graph/ops/activation_bias.h"

namespace espalier {
namespace {

/// The node that makes `value`, where only `reader` reads that; null otherwise.
GraphNode* maker_only_for(Graph& graph, int value, const GraphNode& reader) {
  if (graph.only_reader_of(value) != &reader) return nullptr;
  const auto maker = std::ranges::find(graph.nodes, value, &GraphNode::output);
  return maker == graph.nodes.end() ? nullptr : &*maker;
}

Attribute* attribute_of(GraphNode& node, std::string_view name) {
  const auto found = std::ranges::find(node.attributes, name, &std::pair<std::string, Attribute>::first);
  return found == node.attributes.end() ? nullptr : &found->second;
}

/// The node's own activation, where it could have one and has none; null otherwise.
Attribute* open_activation(GraphNode& node) {
  const Op* op = find_op(node.op);
  if (!op || op->activation.empty() || node.op == "activation") return nullptr;
  Attribute* own = attribute_of(node, op->activation);
  return own && std::get<std::string>(*own) == ops::activation_name(Activation::none) ? own : nullptr;
}

void remove(Graph& graph, const GraphNode& node) {
  graph.nodes.erase(graph.nodes.begin() + (&node - graph.nodes.data()));
}

bool join_activation(Graph& graph, GraphNode& node) {
  if (node.op != "activation") return false;
  GraphNode* maker = maker_only_for(graph, node.inputs[0], node);
  Attribute* own = maker ? open_activation(*maker) : nullptr;
  if (!own) return false;
  const auto function = std::get<std::string>(*node.attribute("function"));
  if (maker->op == "batch_norm" && !derives_from_input(ops::activation_named(function))) return false;
  *own = function;
  maker->output = node.output;
  remove(graph, node);
  return true;
}

/// The norm moves to where the sum is: what it is added to may be made between them.
bool join_residual(Graph& graph, GraphNode& node) {
  if (node.op != "add" || graph.shape(node.inputs[0]) != graph.shape(node.inputs[1]) ||
      node.inputs[0] == node.inputs[1])
    return false;
  for (const size_t side : {0, 1}) {
    const int other = node.inputs[1 - side];
    GraphNode* norm = graph.is_parameter(other) ? nullptr : maker_only_for(graph, node.inputs[side], node);
    if (!norm || norm->op != "batch_norm" || norm->inputs.size() != 5 || !open_activation(*norm)) continue;
    GraphNode joined = *norm;
    joined.inputs.push_back(other);
    joined.output = node.output;
    joined.channels = Channels::tied;
    node = std::move(joined);
    remove(graph, *norm);
    return true;
  }
  return false;
}

bool join_mean(Graph& graph, GraphNode& node) {
  if (node.op != "flatten") return false;
  GraphNode* mean = maker_only_for(graph, node.inputs[0], node);
  if (!mean || mean->op != "adaptive_average_pool2d" || graph.shape(mean->output)[1] != 1 ||
      graph.shape(mean->output)[2] != 1)
    return false;
  node = {.op = "global_average_pool",
          .attributes = {},
          .inputs = mean->inputs,
          .output = node.output,
          .channels = Channels::kept};
  remove(graph, *mean);
  return true;
}

Graph without_unused_values(const Graph& graph) {
  std::vector<char> used(graph.values.size(), 0);
  used[0] = 1;
  for (const GraphNode& node : graph.nodes) {
    used[static_cast<size_t>(node.output)] = 1;
    for (const int input : node.present()) used[static_cast<size_t>(input)] = 1;
  }
  Graph made = graph;
  made.values.clear();
  std::vector<int> number(graph.values.size(), GraphNode::absent);
  for (size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) continue;
    number[i] = static_cast<int>(made.values.size());
    made.values.push_back(graph.values[i]);
  }
  for (GraphNode& node : made.nodes) {
    node.output = number[static_cast<size_t>(node.output)];
    for (int& input : node.inputs)
      if (input != GraphNode::absent) input = number[static_cast<size_t>(input)];
  }
  return made;
}

}  // namespace

Graph tidied(Graph graph) {
  for (size_t i = 0; i < graph.nodes.size();) {
    GraphNode& node = graph.nodes[i];
    // One that is joined is gone, or an earlier one is: what now stands here is looked at again.
    if (join_mean(graph, node) || join_residual(graph, node) || join_activation(graph, node))
      i = i > 0 ? i - 1 : 0;
    else
      ++i;
  }
  return without_unused_values(graph);
}

}  // namespace espalier

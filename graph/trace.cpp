#include "espalier/graph/trace.h"

namespace espalier {

void Trace::recorded(const OpRecord& op, const Variable& output) {
  GraphNode node;
  node.op = op.op;
  for (const auto& [name, value] : op.attributes) node.attributes.emplace_back(name, value);
  for (const auto& input : op.inputs)
    node.inputs.push_back(input.defined() ? number(input) : GraphNode::absent);
  node.output = number(output);
  node.channels = op.channels;
  graph.nodes.push_back(std::move(node));
}

int Trace::number(const Variable& variable) {
  auto [found, added] = numbers_.emplace(variable.state().get(), static_cast<int>(graph.values.size()));
  if (added) {
    graph.values.push_back({variable.shape(), variable.name()});
    alive_.push_back(variable.state());
  }
  return found->second;
}

}  // namespace espalier

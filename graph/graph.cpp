#include "espalier/graph/graph.h"

#include <algorithm>

namespace espalier {

const Attribute* GraphNode::attribute(std::string_view name) const {
  for (const auto& [key, value] : attributes)
    if (key == name) return &value;
  return nullptr;
}

const GraphNode* Graph::maker_of(int value) const {
  const auto found = std::ranges::find(nodes, value, &GraphNode::output);
  return found == nodes.end() ? nullptr : &*found;
}

std::vector<const GraphNode*> Graph::readers_of(int value) const {
  std::vector<const GraphNode*> readers;
  for (const GraphNode& node : nodes)
    if (std::ranges::count(node.inputs, value) > 0) readers.push_back(&node);
  return readers;
}

std::string Graph::layer_of(const GraphNode& node) const {
  for (const int input : node.present())
    if (is_parameter(input)) {
      const std::string& name = values[static_cast<size_t>(input)].parameter;
      return name.substr(0, name.rfind('.'));
    }
  return "";
}

}  // namespace espalier

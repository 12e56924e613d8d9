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

const GraphNode* Graph::only_reader_of(int value) const {
  const auto readers = readers_of(value);
  const bool only = readers.size() == 1 && readers[0]->inputs[0] == value &&
                    std::ranges::count(readers[0]->inputs, value) == 1;
  return only ? readers[0] : nullptr;
}

std::string Graph::layer_of(const GraphNode& node) const {
  for (const int input : node.present())
    if (is_parameter(input)) return std::string(layer_name(values[static_cast<size_t>(input)].parameter));
  return "";
}

}  // namespace espalier

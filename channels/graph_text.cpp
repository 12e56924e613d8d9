#include "espalier/channels/graph_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "espalier/nn/network.h"
#include "espalier/util/definition_list.h"
#include "espalier/util/table.h"

namespace espalier {
namespace {

/// The names of the layers whose outputs, or inputs, the group is.
std::vector<std::string> layers_of(const ChannelGroup& group, bool out) {
  std::vector<std::string> names;
  for (const GroupMember& member : group.members) {
    std::string name(layer_name(member.parameter->name));
    if (member.out == out && !std::ranges::count(names, name)) names.push_back(std::move(name));
  }
  return names;
}

/// Learned numbers that go with one channel, were it cut by itself.
int64_t weights_of_a_channel(const ChannelGroup& group) {
  int64_t sum = 0;
  for (const GroupMember& member : group.members) {
    if (!member.parameter->learned()) continue;
    const Shape& shape = member.parameter->shape();
    sum += std::ranges::count(member.channel_of, 0) * (shape.elements() / shape[member.axis]);
  }
  return sum;
}

/// A color that is unlike those of the numbers beside it: the golden ratio's multiples around the circle.
std::string color(int group) {
  const double turn = 0.618033988749895 * group;
  return fmt::format("{:.3f} 0.85 0.75", turn - static_cast<int64_t>(turn));
}

}  // namespace

std::string graph_text(const ChannelGraph& graph, size_t width) {
  std::string text;
  for (size_t g = 0; g < graph.groups.size(); ++g) {
    const ChannelGroup& group = graph.groups[g];
    const std::string weights = grouped(weights_of_a_channel(group));
    std::string head =
        fmt::format("group {}: {} channels", g + 1, grouped(group.channels * group.multiplicity));
    if (!group.fixed.empty())
      head += fmt::format(", {}: they stay", group.fixed);
    else if (group.multiplicity == 1)
      head += fmt::format(", {} weights each", weights);
    else
      head += fmt::format(" that go {} at a time, {} weights", group.multiplicity, weights);
    std::vector<Definition> layers{{"made by", fmt::format("{}", fmt::join(layers_of(group, true), " "))}};
    if (const auto readers = layers_of(group, false); !readers.empty())
      layers.push_back({"read by", fmt::format("{}", fmt::join(readers, " "))});
    text += wrapped(head, width) + definition_list(layers, width);
  }
  return text;
}

std::string graph_dot(const ChannelGraph& channels, const Graph& graph) {
  std::string text =
      "digraph network {\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];\n";
  std::vector<int> maker(graph.values.size(), -1);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const GraphNode& node = graph.nodes[i];
    const std::string layer = graph.layer_of(node);
    text += fmt::format("  op{} [label=\"{}{}\"];\n", i, layer.empty() ? "" : layer + "\\n", node.op);
    maker[node.output] = static_cast<int>(i);
  }
  const auto edge = [&](const std::string& from, const std::string& to, int value) {
    const Shape& shape = graph.values[value].shape;
    const std::vector<int>& groups = channels.groups_of_value[value];
    std::string style;
    if (!groups.empty())
      style = fmt::format(", color=\"{}\", penwidth=2{}", color(groups.front()),
                          channels.groups[groups.front()].fixed.empty() ? "" : ", style=dashed");
    std::vector<int> numbers;
    for (const int g : groups) numbers.push_back(g + 1);
    text += fmt::format("  {} -> {} [label=\"{}{}\"{}];\n", from, to, shape.axes() ? shape[-1] : 1,
                        numbers.empty() ? "" : fmt::format(" (group {})", fmt::join(numbers, ", ")), style);
  };
  std::vector<char> read(graph.values.size());
  bool leaves = false;
  for (size_t i = 0; i < graph.nodes.size(); ++i)
    for (const int input : graph.nodes[i].present()) {
      read[input] = 1;
      if (graph.is_parameter(input)) continue;
      leaves = leaves || maker[input] < 0;
      edge(maker[input] < 0 ? "input" : "op" + std::to_string(maker[input]), "op" + std::to_string(i), input);
    }
  if (leaves) text += "  input [shape=ellipse];\n";
  text += "  output [shape=ellipse];\n";
  for (const GraphNode& node : graph.nodes)
    if (!read[node.output]) edge("op" + std::to_string(maker[node.output]), "output", node.output);
  return text + "}\n";
}

}  // namespace espalier

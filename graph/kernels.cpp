#include "espalier/graph/kernels.h"

#include <algorithm>
#include <set>

namespace espalier {
namespace {

/// Of each node's inputs, whether a gradient flows into it, and is there already, of a later op, when this
/// one's comes.
struct Flow {
  std::vector<std::vector<bool>> gradients, adds;

  Flow(const Graph& graph, bool training) {
    std::set<int> learned;
    for (int i = 0; i < static_cast<int>(graph.values.size()); ++i)
      if (graph.is_parameter(i)) learned.insert(i);
    for (const GraphNode& node : graph.nodes) {
      auto& needed = gradients.emplace_back();
      for (const int value : node.inputs) needed.push_back(training && learned.contains(value));
      if (std::ranges::any_of(node.inputs, [&](int value) { return learned.contains(value); }))
        learned.insert(node.output);
    }
    adds = gradients;
    std::set<int> has_one;
    for (size_t i = graph.nodes.size(); i-- > 0;)
      for (size_t k = 0; k < adds[i].size(); ++k)
        if (adds[i][k]) adds[i][k] = !has_one.insert(graph.nodes[i].inputs[k]).second;
  }
};

}  // namespace

void for_each_kernel(
    const Graph& graph, const Pass& pass,
    const std::function<void(const GraphNode& node, const std::vector<KernelCall>& calls)>& visit) {
  const Flow flow(graph, pass.training);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const GraphNode& node = graph.nodes[i];
    const Op* op = find_op(node.op);
    if (!op || !op->kernels) {
      visit(node, {});
      continue;
    }
    const OpCall call(graph, node, *op);
    visit(node, op->kernels({call, pass, flow.gradients[i], flow.adds[i]}));
  }
}

}  // namespace espalier

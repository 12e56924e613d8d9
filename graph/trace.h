// Trace: records the graph of whatever runs while it is open.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "espalier/graph/graph.h"

namespace espalier {

/// Ops that this thread records while a Trace is open (of several, the innermost) become nodes of its graph.
class Trace : public OpObserver {
 public:
  void recorded(const OpRecord& op, const Variable& output) override;
  /// A value's numbers.
  const Tensor& tensor(int value) const { return alive_[static_cast<size_t>(value)]->value; }
  /// Whether a node does nothing but look at its first input in another shape.
  bool reshapes(const GraphNode& node) const {
    return tensor(node.inputs.front()).shares(tensor(node.output));
  }

  Graph graph;

 private:
  int number(const Variable& variable);

  std::unordered_map<const VariableState*, int> numbers_;
  std::vector<std::shared_ptr<VariableState>> alive_;  // so that no address is used twice
};

}  // namespace espalier

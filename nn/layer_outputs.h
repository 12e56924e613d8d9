// What named layers put out while a network runs, whatever module or graph it is.
#pragma once

#include <string>
#include <vector>

#include "espalier/graph/graph.h"

namespace espalier {

/// While it is open, keeps what layers put out. A name (names.h) is a layer's, or that of what several lie
/// under, and its output is that of the last op which computes with parameters of such a layer: of "layer2"
/// of a ResNet that of its last norm, the residual added and activated, for its op does so. An activation, a
/// pooling or a sum that is an op of its own after it has no parameters, and does not count.
///
/// Ops run together, such as a convolution and its norm in inference, as they do without it, unless what lies
/// between them is wanted.
class LayerOutputs final : public OpObserver {
 public:
  explicit LayerOutputs(std::vector<std::string> names);
  void recorded(const OpRecord& op, const Variable& output) override;
  bool describes() const override { return false; }
  bool separates(const Variable& first, const Variable& second) const override;

  /// Of name number i. Error where no such layer has run.
  const Variable& operator[](size_t i) const;

 private:
  const std::vector<std::string> names_;
  std::vector<Variable> outputs_;
};

/// The op of a pass whose output that is; null where none computes with such a layer.
const GraphNode* last_of_layer(const Graph& graph, const std::string& name);

}  // namespace espalier

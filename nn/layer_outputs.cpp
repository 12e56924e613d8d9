#include "espalier/nn/layer_outputs.h"

#include <algorithm>

#include "espalier/nn/names.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {

/// The layer that an op is, by its first parameter, as Graph::layer_of has it; empty for one without.
std::string_view layer_of(const OpRecord& op) {
  for (const Variable& input : op.inputs)
    if (input.defined() && !input.name().empty()) return layer_name(input.name());
  return {};
}

}  // namespace

LayerOutputs::LayerOutputs(std::vector<std::string> names)
    : names_(std::move(names)), outputs_(names_.size()) {}

void LayerOutputs::recorded(const OpRecord& op, const Variable& output) {
  const std::string_view layer = layer_of(op);
  if (layer.empty()) return;
  for (size_t i = 0; i < names_.size(); ++i)
    if (means_layer(names_[i], layer)) outputs_[i] = output;
}

bool LayerOutputs::separates(const Variable& first, const Variable& second) const {
  return std::ranges::any_of(names_, [&](const std::string& name) {
    return means_layer(name, layer_name(first.name())) && !means_layer(name, layer_name(second.name()));
  });
}

const Variable& LayerOutputs::operator[](size_t i) const {
  ESP_CHECK(outputs_[i].defined(), "no layer '", names_[i], "' has run");
  return outputs_[i];
}

const GraphNode* last_of_layer(const Graph& graph, const std::string& name) {
  const GraphNode* last = nullptr;
  for (const GraphNode& node : graph.nodes)
    if (const std::string layer = graph.layer_of(node); !layer.empty() && means_layer(name, layer))
      last = &node;
  return last;
}

}  // namespace espalier

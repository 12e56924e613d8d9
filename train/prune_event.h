// What one act of a pruner did to a network, layer by layer: a row of metrics.jsonl.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "espalier/nn/module.h"
#include "espalier/train/train_config.h"

namespace espalier {

/// A convolution or linear layer as pruning counts it: only by its weight, without a bias.
struct LayerSize {
  std::string name;
  int64_t channels;  ///< that it makes
  int64_t weights;
  int64_t nonzeros;  ///< with what a mask keeps, though it be 0, as what has just grown
};
std::vector<LayerSize> layer_sizes(Module& model);
/// Share of zeros among their weights.
double sparsity_of(const std::vector<LayerSize>& layers);

/// True if channels are cut, so that shapes change.
bool cuts_channels(const PruneConfig& config);

struct PruneEvent {
  /// What is before it; `macs` of one image.
  PruneEvent(const PruneConfig& by, Module& model, int64_t macs);
  /// What is after it.
  void end(Module& model, int64_t macs);

  std::string unit, criterion, scope;
  bool cuts;  ///< channels; or it masks
  std::vector<LayerSize> layers_before, layers_after;
  int64_t macs_before, macs_after;
};

/// {"unit", "criterion", "scope", "layers": [{"name", ...}]}; with, of masks, each layer's "weights" and
/// "nonzeros": {"before", "after"}; of cuts, "macs" and each layer's "channels", the same way.
nlohmann::ordered_json to_json(const PruneEvent& event);

}  // namespace espalier

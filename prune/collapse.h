// Pruning as a book, layer collapse: where so little is left of a layer that it holds up all others, however
// many weights those still have; foreseen, as far as the target says it, and found.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "espalier/nn/module.h"
#include "espalier/prune/pruner.h"

namespace espalier {

/// "layer collapse: fc1 is left with 12 of 235,200 weights, in 3 of 300 filters", for each layer of whose
/// weights less than one in a thousand is not zero, or fewer than it has outputs, or of whose filters less
/// than one in ten has such a weight.
std::vector<std::string> collapsed_layers(Module& model);

/// The same before anything is trained or pruned: "layer collapse: fc1 will be left with 12 of 235,200
/// weights, and has 300 outputs", for each layer that a prune of masks empties, or leaves with fewer weights
/// than outputs, whatever the scores are (foreseen_layers). Of complete filters and layers, of which that is
/// asked, only those that are emptied. Images are `input` [H,W,C].
std::vector<std::string> foreseen_collapse(Module& model, const Shape& input, const PruneOptions& options);

/// What a layer has of filters, and of columns, of which masks hold every weight at zero: outputs that look
/// at nothing, and inputs that nobody looks at. They are computed all the same.
struct DeadUnits {
  std::string layer;
  int64_t filters = 0, of_filters = 0;
  int64_t columns = 0, of_columns = 0;
};
/// Of each layer that has some.
std::vector<DeadUnits> dead_units(Module& model);
/// "dead: 12 of 300 filters and 8 of 784 columns of fc1 have no weight that is not masked"; of several layers
/// how many in all, and in which most of them are. Empty: there are none.
std::string dead_line(const std::vector<DeadUnits>& dead);

}  // namespace espalier

// Pruning as a book, the report: what a network is made of, layer by layer, as text a person reads. The
// numbers are nn/network.h's; here they become lines of at most `width` columns.
#pragma once

#include <string>
#include <vector>

#include "espalier/nn/network.h"
#include "espalier/prune/pruner.h"
#include "espalier/util/terminal.h"

namespace espalier {

/// Every layer with shape, parameters, non-zeros, sparsity and MACs, then the totals, and the bytes of all as
/// dense f32: `espalier inspect`.
std::string network_table(const std::vector<LayerRow>& layers, const NetworkTotals& totals,
                          size_t width = any_width);

/// How sparse each convolution and linear layer is, with a bar, then the totals: what a run prints after
/// pruning.
std::string sparsity_table(const std::vector<LayerRow>& layers, const NetworkTotals& totals,
                           size_t width = any_width);

/// Layers whose limits held back what the selection would have taken of their `units` ("filters").
std::vector<std::string> held_lines(const PruneResult& result, const std::string& units);

/// True if some of the layers were ranked only against some of the others, as scope isomorphic has it.
bool has_classes(const PruneResult& result);

/// Of a result that says where scores lie (PruneOptions::explain): for each layer how many of its units
/// ("weights") were gone before and go now, the range of the scores of the rest, the highest that went, the
/// lowest that stayed, and the limit that held. Where a result has_classes, their numbers, from 1. The total
/// has a range and a line only if all layers were ranked against each other.
std::string scores_table(const PruneResult& result, const std::string& units, size_t width = any_width);

/// What a prune of channels did: how many each group keeps, with a bar, what is held at its least width, and
/// what became of MACs, latency, parameters and bytes.
std::string channel_table(const PruneResult& result, size_t width = any_width);

/// What it did to MACs and, as far as they are known, to the milliseconds of an image:
/// "MACs 9,000 -> 3,000 (3.00x fewer), latency 1.83 -> 1.49 ms (1.23x)".
std::string speed_line(const PruneResult& result);

/// The same in a line, for cuts that come one after another.
std::string channel_line(const PruneResult& result);

/// Channels that a layer makes, in the network that was first built and now.
struct LayerWidth {
  std::string layer;
  int64_t before, after;
  const Parameter* weight;  ///< of which channels were cut
};
/// Those of each layer that lost some.
std::vector<LayerWidth> cut_widths(Module& model);

/// The same with a bar for each; empty for a model that was never cut.
std::string width_table(const std::vector<LayerWidth>& widths, size_t width = any_width);

}  // namespace espalier

// Pruning as a book, the report: what a network is made of, layer by layer, as text a person reads. The
// numbers are nn/network.h's; here they become tables of at most 80 columns (longer only where a layer's name
// is).
#pragma once

#include <string>
#include <vector>

#include "espalier/nn/network.h"

namespace espalier {

/// Every layer with shape, parameters, non-zeros, sparsity and MACs, then the totals, and the bytes of all as
/// dense f32: `espalier inspect`.
std::string network_table(const std::vector<LayerRow>& layers, const NetworkTotals& totals);

/// How sparse each convolution and linear layer is, with a bar, then the whole: what a run prints after
/// pruning.
std::string sparsity_table(const std::vector<LayerRow>& layers, const NetworkTotals& totals);

}  // namespace espalier

// Re-estimation of batch norms' running statistics, for weights that are no longer those that were trained:
// averaged (Izmailov et al. 2018) or pruned ones.
#pragma once

#include <cstdint>

#include "espalier/data/loader.h"
#include "espalier/nn/module.h"

namespace espalier {

/// The running statistics become the mean of those of the loader's first `batches` batches (of its first
/// epochs, if one has fewer); nothing else changes. Stops with Interrupted if a signal comes.
void reestimate_norm(Module& model, Loader& loader, int64_t batches);

}  // namespace espalier

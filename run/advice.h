// Advice: what a config may say and hardly anybody means.
#pragma once

#include <string>
#include <vector>

#include "espalier/run/config.h"

namespace espalier {

/// A line for each: "x.json: /stages/1/prune/sparsity: 0.5 is no more than ...", of a config whose training
/// set has so many batches. Nothing of it keeps a run from beginning.
std::vector<std::string> advice(const Config& config, int64_t batches);

}  // namespace espalier

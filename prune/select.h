// Pruning as a book, step 4, select: which units go. The scope says which are ranked against each other, the
// cut how many of them go; layers may be left out altogether. Nothing here looks at a weight: scores in,
// verdicts out. Coupled channels have a selection of their own (channel_select.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "espalier/core/tensor.h"
#include "espalier/nn/module.h"
#include "espalier/prune/unit.h"

namespace espalier {

/// The weights of convolutions and linear layers. `include` and `exclude` name layers, or what they lie under
/// (means_layer in names.h). An empty `include` means all; `exclude` wins. Error for an entry that names no
/// layer (with the nearest that exists) or if nothing is left.
std::vector<Parameter*> prunable_weights(Module& model, const std::vector<std::string>& include = {},
                                         const std::vector<std::string>& exclude = {});

/// Which units are ranked against each other.
enum class Scope : uint8_t {
  layer,       ///< those of each layer, or of each group of channels
  global,      ///< all
  isomorphic,  ///< of channels alone: those of groups whose layers are alike
};
const std::vector<std::string>& scope_names();
Scope scope_named(const std::string& name);

/// How many go, of N units ranked together.
struct Cut {
  enum Rule : uint8_t {
    sparsity,   ///< the sparsity_count(value, N) lowest; `value` in 0..1
    threshold,  ///< those that score below `value`
    quantile,   ///< those that score below the `value`-quantile of the N scores; `value` in 0..1
  };
  Rule rule = sparsity;
  double value = 0.0;
};
/// llround(sparsity n): how many of n units go. Halves round away from zero.
int64_t sparsity_count(double sparsity, int64_t n);
/// UsageError for a sparsity or quantile outside 0..1 or a threshold that is no number.
void check(Cut cut);

/// For each unit 1 if it stays and 0 if it goes, u8 [units.count], from scores [units.count] (score_units).
/// Among equal scores the lower (layer, index) goes first, so counts are exact. Units pruned before
/// (pruned_score) count among the N and go again whatever the cut: sparsity is of the original weights, and a
/// selection never gives one back. UsageError as check(cut).
///
/// A quantile is numpy's default: linear between the scores at ranks floor and ceil of value (N - 1), from 0.
/// As only units strictly below it go, it cuts where the score at the upper rank does; the highest always
/// stay.
Tensor select(const UnitSet& units, const Tensor& scores, Scope scope, Cut cut);

}  // namespace espalier

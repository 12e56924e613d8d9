// Pruning as a book, step 8: methods under which all weights train, and a mask says which of them the network
// computes with. The weights that a step moves are the parameter's "unmasked_value" (nn/parameter.h); its
// value is what the mask leaves of them, so that whatever computes, evaluates or saves sees the pruned
// network. The gradient is taken at that, and moves the others straight through (Bengio, Leonard, Courville
// 2013).
//
//   straight_through   the gradient of every weight counts
//   top_kast           only those of the n weights in use, and of as many of the next largest as
//   backward_sparsity
//                      leaves; the rest stays as it is (Jayakumar et al., NeurIPS 2020)
//
// How many weights of a layer are in use its mask says: as many as it keeps. A layer without a mask uses all.
#pragma once

#include <optional>
#include <vector>

#include "espalier/nn/parameter.h"
#include "espalier/prune/regrow.h"

namespace espalier {

/// Begins as copies of the values. So of weights that were masked before 0 is what is left; a mask that is
/// made later, by a pruner in the same stage, takes the value and leaves this.
void start_unmasked(const std::vector<Parameter*>& weights);
/// Error unless all of them have it.
void check_unmasked(const std::vector<Parameter*>& weights);
/// After each step: the values become what the masks leave. For those that have it, as all below.
void follow_unmasked(const std::vector<Parameter*>& weights);

/// What top_kast asks for beside the masks.
struct Explored {
  double backward_sparsity;  ///< share of a layer's weights that do not train
  double weight_decay;
};

/// Chooses anew which weights are in use: as many as each mask keeps, the largest by |unmasked_value|, of
/// equals the first; the values, and moving averages of them, follow. Optimizer state stays, but what does
/// not train (`explored`) has none. Error for a weight that is not finite.
Regrown choose_masks(const std::vector<Parameter*>& weights, const std::optional<Explored>& explored);

/// Of top_kast. How far each weight is reached is its "unmasked_reach": 1 where it is in use, 1 / density of
/// the layer where it only trains, else 0; choose_masks() says so, and before it is called all are in use.
void start_reach(const std::vector<Parameter*>& weights);
/// Gradients of what is not reached become 0.
void keep_reached_gradients(const std::vector<Parameter*>& weights);
/// unmasked_value -= rate reach unmasked_value: the paper's pull at what trains, with rate = lr weight_decay.
void decay_reached(const std::vector<Parameter*>& weights, double rate);

}  // namespace espalier

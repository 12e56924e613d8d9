// Pruning as a book, step 3, criterion: a score for each unit; the lowest go first. Every criterion is one
// row of the table in criterion.cpp: a formula per number, a reduction over the unit, and the paper it is
// from.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "espalier/prune/unit.h"
#include "espalier/util/extra_options.h"
#include "espalier/util/registry.h"

namespace espalier {

/// What a criterion sees of some units of one layer, [units, size] numbers each, a row for a unit.
struct ImportanceInputs {
  const float* w;  ///< the weights
  int64_t size;    ///< numbers in a unit
  uint64_t key;    ///< of the random stream (core/random.h)
  uint64_t first;  ///< the place of the first of these units in it
  const float* signal =
      nullptr;  ///< what the criterion needs, a number for each weight; null if only weights
};

/// What scores are made of besides the weights: the signal (signals.h). L is the stage's loss, the mean over
/// a batch.
enum class Needs : uint8_t {
  weights,            ///< nothing else
  gradients,          ///< the mean over batches of (dL/dw)^2
  curvature,          ///< the same of single images: the diagonal of the Fisher information
  mean_gradients,     ///< the mean over batches of dL/dw
  hessian_gradients,  ///< H g, g the gradient and H its derivative: hessian.h
  synaptic_flow,      ///< dR/d|w|, of no data: synaptic_flow.h
  movement,           ///< the sum of w dL/dw over the steps of the stage that prunes
  input_norms,        ///< norms of what the weights are multiplied by: layer_inputs.h
  input_products,     ///< what losing a weight costs its layer's output: layer_inputs.h
  inverse_fisher,     ///< 1 / [F^-1]_qq, F the Fisher information of blocks: inverse_fisher.h
};

/// Which parameters are scored, of those whose numbers go with a unit: of a coupled channel there are
/// several.
enum class Scored : uint8_t {
  all,     ///< weights that make it, weights that read it, scales of norms
  makers,  ///< weights that make it
  scales,  ///< scales of norms only
  none,    ///< none: the score is the unit's own
};

/// What scores of the units of one layer, or of one group of channels, are divided by, so that those of
/// several can be ranked together.
enum class Normalizer : uint8_t {
  none,
  mean,
  max,
  standardize,  ///< to 0..1: (s - min) / (max - min)
};
const std::vector<std::string>& normalizer_names();
Normalizer normalizer_named(const std::string& name);
/// Divides them, all but those that are pruned_score. Where all are equal, by 1.
void normalize(std::span<float> scores, Normalizer normalizer);

struct LayerToSolve;  // compensate.h

struct Criterion {
  std::string name;
  std::string help;   ///< one line
  std::string paper;  ///< authors, title, venue
  /// Writes one score for each unit; how many there are is the size of `scores`.
  void (*score)(std::span<float> scores, const ImportanceInputs& inputs);
  Needs needs = Needs::weights;
  /// Of training images, for curvature: single images. To be said where it needs more than weights.
  int64_t batches = 0;
  bool together = false;  ///< units are compared with each other: `score` gets all of a layer at once
  /// If any: what is made of the scores of a complete layer, or of a complete group of channels.
  void (*relate)(std::span<float> scores) = nullptr;
  Scored scored = Scored::all;
  Normalizer normalizer = Normalizer::mean;  ///< where a config names none
  std::vector<ExtraOption> extra = {};       ///< options of its own
  ExtraOptions chosen = {};                  ///< those of them that are given: see all_options()
  /// Of units weight and n:m, if any: what stays of a layer makes up for what goes.
  void (*solve)(LayerToSolve& layer) = nullptr;
  /// Selections in which a target is reached where a config does not say. If more than one, the same share of
  /// what is left goes in each.
  int64_t iterations = 1;

  /// `chosen`, and the defaults of the others. UsageError for one that its row does not declare.
  ExtraOptions all_options() const { return chosen.with_defaults(extra, "criterion " + name); }
};

Registry<Criterion>& criteria();

/// The score of a unit that a mask holds at zero already: below all others, so what is pruned stays pruned.
inline constexpr float pruned_score = -std::numeric_limits<float>::infinity();

/// Why a criterion says nothing of such units: "criterion fpgm compares filters, columns or channels of a
/// layer: single weights have no distance to speak of"; empty if it does.
std::string why_not(const Criterion& criterion, const Unit& unit);

/// The random stream of a seed, for ImportanceInputs::key.
uint64_t score_key(uint64_t seed);

}  // namespace espalier

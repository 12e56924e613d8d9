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
#include "espalier/util/registry.h"

namespace espalier {

/// What a criterion sees of some units of one layer, [units, size] numbers each, a row for a unit.
struct ImportanceInputs {
  const float* w;             ///< the weights
  int64_t size;               ///< numbers in a unit
  uint64_t key;               ///< of the random stream (core/random.h)
  uint64_t first;             ///< the place of the first of these units in it
  const float* g2 = nullptr;  ///< if it needs gradients: mean over batches of (d(loss)/dw)^2
  const float* h = nullptr;   ///< if it needs curvature: the diagonal of the Fisher information
};

/// What scores are made of; all but weights take passes over data first (gradients.h).
enum class Needs : uint8_t {
  weights,
  gradients,  ///< squares of gradients of batches' mean losses
  curvature,  ///< squares of gradients of single images' losses
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

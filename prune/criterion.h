// Pruning as a book, step 3, criterion: a score for each unit; the lowest go first. Every criterion is one
// row of the table in criterion.cpp: a formula per number, a reduction over the unit, and the paper it is
// from.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/core/tensor.h"
#include "espalier/prune/unit.h"

namespace espalier {

/// What a criterion sees of consecutive units of one layer.
struct Evidence {
  const float* w;  ///< the weights [units, size]
  int64_t size;    ///< numbers in a unit
  uint64_t key;    ///< of the random stream (core/random.h)
  int64_t first;   ///< the number of the first of these units in its set: its place in the stream
};

struct Criterion {
  std::string_view name;
  std::string_view help;   ///< one line
  std::string_view paper;  ///< authors, title, venue
  /// Writes one score for each unit; how many there are is the size of `scores`.
  void (*score)(std::span<float> scores, const Evidence& evidence);
};

/// All of them, for `espalier help criteria`.
std::span<const Criterion> criteria();
std::vector<std::string> criterion_names();
/// The criterion of that name; UsageError for any other.
const Criterion& criterion_named(const std::string& name);

/// The score of a unit that a mask holds at zero already: below all others, so what is pruned stays pruned.
inline constexpr float pruned_score = -std::numeric_limits<float>::infinity();

/// A score for each unit, f32 [units.count]; pruned_score for those pruned before. Error for a score that is
/// not a number or infinite: such weights have no order.
Tensor score_units(const UnitSet& units, const Criterion& criterion, uint64_t seed);

}  // namespace espalier

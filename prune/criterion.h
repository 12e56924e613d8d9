// Pruning as a book, step 3, criterion: a score for each unit; the lowest go first. Every criterion is one
// row of the table in criterion.cpp: a formula per number, a reduction over the unit, and the paper it is
// from.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/core/tensor.h"
#include "espalier/prune/unit.h"

namespace espalier {

/// What a criterion sees of consecutive units of one layer, [units, size] numbers each.
struct Evidence {
  const float* w;             ///< the weights
  int64_t size;               ///< numbers in a unit
  uint64_t key;               ///< of the random stream (core/random.h)
  int64_t first;              ///< the number of the first of these units in its set: its place in the stream
  const float* g2 = nullptr;  ///< if it looks at gradients: mean over batches of (d(loss)/dw)^2
  const float* h = nullptr;   ///< if it looks at curvature: the diagonal of the Fisher information
};

/// What scores are made of; all but weights take passes over data first (signals.h).
enum class Looks : uint8_t {
  at_weights,
  at_gradients,  ///< squares of gradients of batches' mean losses
  at_curvature,  ///< squares of gradients of single images' losses
};

/// Of a coupled channel, which of the parameters that go with it have a say.
enum class Voices : uint8_t {
  all,      ///< weights that make it, weights that read it, scales of norms
  makers,   ///< weights that make it
  scales,   ///< scales of norms alone
  nothing,  ///< none: the score is the channel's own
};

/// What scores of one group of channels, or of one layer's rows, are divided by, so that those of several can
/// be ranked together.
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
  std::string_view name;
  std::string_view help;   ///< one line
  std::string_view paper;  ///< authors, title, venue
  /// Writes one score for each unit; how many there are is the size of `scores`.
  void (*score)(std::span<float> scores, const Evidence& evidence);
  Looks looks = Looks::at_weights;
  int64_t batches = 0;    ///< of training images that it needs, if it looks at data; at curvature: images
  bool together = false;  ///< units are compared with each other: `score` gets all of a layer at once
  /// If any: what is made of the scores of a whole layer, or of a whole group of channels.
  void (*relate)(std::span<float> scores) = nullptr;
  Voices voices = Voices::all;
  Normalizer normalizer = Normalizer::mean;  ///< where a config names none

  /// It looks at what a mask's units do not come with: data, or the norm behind a layer.
  bool of_channels_alone() const { return voices == Voices::scales || looks != Looks::at_weights; }
};

/// All of them, for `espalier help criteria`.
std::span<const Criterion> criteria();
std::vector<std::string> criterion_names();
/// The criterion of that name; UsageError for any other.
const Criterion& criterion_named(const std::string& name);

/// The score of a unit that a mask holds at zero already: below all others, so what is pruned stays pruned.
inline constexpr float pruned_score = -std::numeric_limits<float>::infinity();

/// What a criterion that looks at more than weights sees of each parameter, in its shape, on the CPU, where
/// scores are made (signals.h).
struct Signals {
  std::map<const Parameter*, Tensor> tensors;

  /// Null if it does not look there. Error where the parameter has none, or of another shape.
  const float* of(const Criterion& criterion, const Parameter& parameter, Looks looks) const;
};

/// The random stream of a seed, for Evidence::key.
uint64_t score_key(uint64_t seed);

/// A score for each unit, f32 [units.count] on the CPU, of weights that are brought there; pruned_score for
/// those pruned before. Error for a score that is not a number or infinite: such weights have no order.
/// UsageError for a criterion that is of channels alone.
Tensor score_units(const UnitSet& units, const Criterion& criterion, uint64_t seed);

}  // namespace espalier

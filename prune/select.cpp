#include "espalier/prune/select.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>

#include "espalier/prune/criterion.h"
#include "espalier/prune/names.h"

namespace espalier {
namespace {

using Scores = std::span<const float>;
using Verdicts = std::span<uint8_t>;

/// An unsigned number in the order of the scores.
uint32_t ordered_bits(float score) {
  const auto bits = std::bit_cast<uint32_t>(score);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/// The score of rank `rank`, from 0, in ascending order. Counts by the upper half of the bits first, so that
/// only the scores that share it need to be told apart.
float score_of_rank(Scores scores, int64_t rank) {
  std::vector<int64_t> counts(size_t{1} << 16);
  for (const float score : scores) ++counts[ordered_bits(score) >> 16];
  uint32_t half = 0;
  while (rank >= counts[half]) rank -= counts[half++];
  std::vector<float> near;
  near.reserve(static_cast<size_t>(counts[half]));
  for (const float score : scores)
    if (ordered_bits(score) >> 16 == half) near.push_back(score);
  std::nth_element(near.begin(), near.begin() + rank, near.end());
  return near[static_cast<size_t>(rank)];
}

/// Those below `bound` go, and those pruned before.
void drop_below(Scores scores, Verdicts kept, float bound) {
  for (size_t i = 0; i < scores.size(); ++i) kept[i] = !(scores[i] < bound || scores[i] == pruned_score);
}

void drop_lowest(Scores scores, Verdicts kept, int64_t count) {
  const float last = count > 0 ? score_of_rank(scores, count - 1) : pruned_score;
  drop_below(scores, kept, last);
  int64_t missing = count - std::count(kept.begin(), kept.end(), 0);
  for (size_t i = 0; missing > 0; ++i) {  // the first of those that tie with the last to go
    if (scores[i] != last) continue;
    kept[i] = 0;
    --missing;
  }
}

/// The verdicts on units that are ranked against each other.
void rank(Scores scores, Verdicts kept, Cut cut) {
  const auto n = static_cast<int64_t>(scores.size());
  if (n == 0) return;
  switch (cut.rule) {
    case Cut::sparsity:
      return drop_lowest(scores, kept, sparsity_count(cut.value, n));
    case Cut::threshold:
      return drop_below(scores, kept, static_cast<float>(cut.value));
    case Cut::quantile: {
      const double place = cut.value * static_cast<double>(n - 1);
      const double upper = std::ceil(place * (1 - 1e-12));  // 0.07 x 100 is rank 7, whatever its last bit
      return drop_below(scores, kept, score_of_rank(scores, static_cast<int64_t>(upper)));
    }
  }
}

}  // namespace

std::vector<Parameter*> prunable_weights(Module& model, const std::vector<std::string>& include,
                                         const std::vector<std::string>& exclude) {
  std::vector<Parameter*> weights = model.parameters();
  std::erase_if(weights, [](const Parameter* parameter) { return parameter->role != Role::weight; });
  std::vector<std::string> layers;
  for (const Parameter* weight : weights) layers.emplace_back(layer_name(weight->name));
  check_layer_lists({{"prune: include", include}, {"prune: exclude", exclude}}, layers);
  std::erase_if(weights, [&](const Parameter* weight) {
    const std::string_view layer = layer_name(weight->name);
    return (!include.empty() && !any_means_layer(include, layer)) || any_means_layer(exclude, layer);
  });
  ESP_CHECK(!weights.empty(), "prune: nothing to prune, ",
            include.empty() && exclude.empty() ? "the model has no convolution or linear layer"
                                               : "include and exclude leave no layer");
  return weights;
}

const std::vector<std::string>& scope_names() {
  static const std::vector<std::string> names = {"layer", "global", "isomorphic"};
  return names;
}

Scope scope_named(const std::string& name) {
  return static_cast<Scope>(position_of_name("scope", name, scope_names()));
}

int64_t sparsity_count(double sparsity, int64_t n) { return std::llround(sparsity * static_cast<double>(n)); }

void check(Cut cut) {
  if (cut.rule == Cut::threshold) {
    if (std::isnan(cut.value)) fail_usage("prune: threshold is ", cut.value, ", expected a number");
  } else if (!(cut.value >= 0 && cut.value <= 1)) {
    fail_usage("prune: ", cut.rule == Cut::sparsity ? "sparsity" : "quantile", " is ", cut.value,
               ", expected 0..1");
  }
}

Tensor select(const UnitSet& units, const Tensor& scores, Scope scope, Cut cut) {
  check(cut);
  if (scope == Scope::isomorphic) fail_usage("prune: scope isomorphic is of channels: expected unit channel");
  ESP_CHECK(scores.elements() == units.count, "prune: ", scores.elements(), " scores for ", units.count,
            " units");
  Tensor kept = Tensor::empty({units.count}, DType::u8);
  const Scores all = scores.span<float>();
  const Verdicts verdicts = kept.span<uint8_t>();
  if (scope == Scope::global) {
    rank(all, verdicts, cut);
  } else {
    for (const LayerUnits& layer : units.layers)
      rank(all.subspan(layer.first, layer.count), verdicts.subspan(layer.first, layer.count), cut);
  }
  return kept;
}

}  // namespace espalier

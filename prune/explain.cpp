#include "espalier/prune/explain.h"

#include <algorithm>
#include <numeric>

#include "espalier/nn/names.h"
#include "espalier/prune/criterion.h"

namespace espalier {
namespace {

/// Of at least one number, which it moves about.
double median_of(std::vector<float>& numbers) {
  const size_t half = numbers.size() / 2;
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(half);
  std::nth_element(numbers.begin(), middle, numbers.end());
  if (numbers.size() % 2 == 1) return *middle;
  return std::midpoint<double>(*std::max_element(numbers.begin(), middle), *middle);
}

LayerScores scores_of(std::span<const float> scores, std::span<const uint8_t> kept) {
  LayerScores layer;
  std::vector<float> ranked;
  for (size_t u = 0; u < scores.size(); ++u) {
    const double score = scores[u];
    if (scores[u] == pruned_score) continue;  // it was gone before
    ranked.push_back(scores[u]);
    if (kept[u])
      layer.lowest_kept = std::min(layer.lowest_kept.value_or(score), score);
    else
      layer.highest_gone = std::max(layer.highest_gone.value_or(score), score);
  }
  if (ranked.empty()) return layer;
  const auto [min, max] = std::ranges::minmax(ranked);
  layer.min = min;
  layer.max = max;
  layer.median = median_of(ranked);
  return layer;
}

/// Which of include and exclude leaves them out; empty: neither does. `layers`: the one, or all that make a
/// group's channels.
std::string left_out_by(const std::vector<std::string>& layers, const std::vector<std::string>& include,
                        const std::vector<std::string>& exclude) {
  for (const std::string& entry : exclude)
    if (any_means_layer({entry}, layers)) return "exclude has '" + entry + "'";
  if (!include.empty() && !any_means_layer(include, layers)) return "include does not name it";
  return "";
}

std::vector<LeftOut> left_out_groups(const UnitSet& units, const std::vector<std::string>& include,
                                     const std::vector<std::string>& exclude) {
  std::vector<LeftOut> all;
  const auto& groups = units.channels->graph.groups;
  for (size_t g = 0; g < groups.size(); ++g) {
    const std::vector<std::string> makers = makers_of(groups[g]);
    if (makers.empty() || std::ranges::count(units.groups, g, &UnitGroup::channel_group) > 0) continue;
    const std::string why = left_out_by(makers, include, exclude);
    all.push_back({makers.front(), !why.empty() ? why : "its channels are " + groups[g].fixed});
  }
  return all;
}

}  // namespace

std::vector<LayerScores> layer_scores(const UnitSet& units, const Tensor& scores, const Tensor& kept,
                                      const Ranking& ranking) {
  std::vector<LayerScores> layers;
  for (size_t g = 0; g < units.groups.size(); ++g) {
    const auto first = static_cast<size_t>(units.groups[g].first),
               count = static_cast<size_t>(units.groups[g].count);
    LayerScores layer =
        scores_of(scores.span<float>().subspan(first, count), kept.span<uint8_t>().subspan(first, count));
    layer.ranked = ranking.class_of(g);
    layers.push_back(layer);
  }
  return layers;
}

std::vector<LeftOut> left_out(Module& model, const Shape& input, const Unit& unit,
                              const std::vector<std::string>& include,
                              const std::vector<std::string>& exclude) {
  const UnitSet units = units_of(model, input, unit, include, exclude);
  if (units.channels) return left_out_groups(units, include, exclude);
  std::vector<LeftOut> all;
  for (const Parameter* weight : prunable_weights(model)) {
    const std::string layer(layer_name(weight->name));
    if (std::ranges::count(units.groups, layer, &UnitGroup::layer) > 0) continue;
    const std::string why = left_out_by({layer}, include, exclude);
    const char* output = unit.kind == Unit::layer
                             ? "it makes the network's output, and stays unless include names it"
                             : "its filters are the network's output, and stay unless include names it";
    all.push_back({layer, !why.empty() ? why : output});
  }
  return all;
}

}  // namespace espalier

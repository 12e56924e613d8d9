#include "espalier/prune/pruner.h"

#include <algorithm>

#include "espalier/prune/mask.h"
#include "espalier/prune/names.h"

namespace espalier {
namespace {

/// True for a layer whose rows are the network's output, unless the options name it.
bool keeps_its_rows(std::string_view layer, const PruneOptions& options) {
  const bool named = std::ranges::any_of(options.include, [&](const std::string& entry) {
    return !is_pattern(entry) && means_layer(entry, layer);
  });
  return !named && std::ranges::count(options.output, layer) > 0;
}

/// What may be pruned.
UnitSet units_of(Module& model, const PruneOptions& options) {
  std::vector<Parameter*> weights = prunable_weights(model, options.include, options.exclude);
  if (options.unit == Unit::row)
    std::erase_if(weights,
                  [&](const Parameter* weight) { return keeps_its_rows(layer_name(weight->name), options); });
  ESP_CHECK(!weights.empty(), "prune: nothing to prune: the rows of the network's output, ",
            options.output.front(), ", stay unless include names it");
  return {options.unit, weights};
}

/// Their scores, comparable where they are ranked together. A threshold is compared with what a criterion
/// says, so there nothing is divided.
Tensor scores_of(const UnitSet& units, const PruneOptions& options) {
  Tensor scores = score_units(units, options.criterion, options.seed);
  if (options.unit == Unit::row && options.scope == Scope::global && options.cut.rule != Cut::threshold)
    for (const LayerUnits& layer : units.layers)
      normalize(scores.span<float>().subspan(layer.first, layer.count),
                options.normalizer.value_or(options.criterion.normalizer));
  return scores;
}

[[noreturn]] void fail_empty(const LayerUnits& layer, const PruneOptions& options) {
  fail("prune: nothing would be left of ", layer_name(layer.parameter->name), ", all ", layer.count, " ",
       unit_names()[static_cast<size_t>(options.unit)],
       "s of which would go; \"allow_empty\": true lets them");
}

/// Error for a layer of which `kept` leaves nothing, unless nothing was left before.
void check_none_is_emptied(const UnitSet& units, const Tensor& scores, const Tensor& kept,
                           const PruneOptions& options) {
  for (const LayerUnits& layer : units.layers) {
    const auto stays = kept.span<uint8_t>().subspan(layer.first, layer.count);
    const auto before = scores.span<float>().subspan(layer.first, layer.count);
    const bool emptied =
        std::ranges::count(stays, 0) == layer.count && std::ranges::count(before, pruned_score) < layer.count;
    if (emptied) fail_empty(layer, options);
  }
}

PruneResult count(const UnitSet& units, const Tensor& scores, const Tensor& kept) {
  PruneResult result;
  for (const LayerUnits& layer : units.layers) {
    const uint8_t* verdict = kept.data<uint8_t>() + layer.first;
    const float* score = scores.f32() + layer.first;
    result.layers.push_back({.name = std::string(layer_name(layer.parameter->name)),
                             .units = layer.count,
                             .pruned = std::count(verdict, verdict + layer.count, 0),
                             .already = std::count(score, score + layer.count, pruned_score)});
  }
  return result;
}

}  // namespace

PruneResult::Layer PruneResult::total() const {
  Layer sum{.name = "total", .units = 0, .pruned = 0, .already = 0};
  for (const Layer& layer : layers) {
    sum.units += layer.units;
    sum.pruned += layer.pruned;
    sum.already += layer.already;
  }
  return sum;
}

void check_prune(Module& model, const PruneOptions& options) {
  check(options.cut);
  const UnitSet units = units_of(model, options);
  if (options.allow_empty || options.cut.rule != Cut::sparsity) return;
  for (const LayerUnits& layer : units.layers) {
    const int64_t ranked = options.scope == Scope::layer ? layer.count : units.count;
    if (layer.count > 0 && sparsity_count(options.cut.value, ranked) == ranked) fail_empty(layer, options);
  }
}

PruneResult prune(Module& model, const PruneOptions& options) {
  const UnitSet units = units_of(model, options);
  const Tensor scores = scores_of(units, options);
  const Tensor kept = select(units, scores, options.scope, options.cut);
  if (!options.allow_empty) check_none_is_emptied(units, scores, kept, options);
  apply_masks(units, kept);
  return count(units, scores, kept);
}

GradualPruner::GradualPruner(PruneOptions options, const Schedule& schedule)
    : options_(std::move(options)), schedule_(schedule) {
  check(options_.cut);
  check(schedule_);
}

std::optional<PruneResult> GradualPruner::step(Module& model, int64_t step) const {
  if (!schedule_.acts_at(step)) return std::nullopt;
  PruneOptions now = options_;
  now.cut.value = schedule_.sparsity_at(step, options_.cut.value);
  return prune(model, now);
}

}  // namespace espalier

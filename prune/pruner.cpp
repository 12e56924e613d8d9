#include "espalier/prune/pruner.h"

#include <algorithm>

#include "espalier/prune/mask.h"

namespace espalier {
namespace {

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

PruneResult prune(Module& model, const PruneOptions& options) {
  const UnitSet units(options.unit, prunable_weights(model, options.include, options.exclude));
  const Tensor scores = score_units(units, options.criterion, options.seed);
  const Tensor kept = select(units, scores, options.scope, options.cut);
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

#include "espalier/run/training_macs.h"

#include <algorithm>
#include <map>

#include "espalier/nn/network.h"
#include "espalier/prune/select.h"
#include "espalier/train/prune_event.h"
#include "espalier/train/regrow_callback.h"

namespace espalier {
namespace {

/// Multiply-accumulates of one image, one way.
struct WayMacs {
  double dense = 0;
  double in_use = 0;   // of weights that masks keep
  double trained = 0;  // and of those that train beside them
};

WayMacs macs_of_way(Module& model, const Shape& input, double backward_sparsity) {
  const Network network(model, input);
  std::map<std::string, LayerSize> sizes;
  for (LayerSize& size : layer_sizes(model)) sizes.emplace(size.name, size);
  WayMacs macs;
  for (const LayerRow& layer : network.layers) {
    const auto found = sizes.find(layer.name);
    if (found == sizes.end() || layer.macs == 0) continue;
    const auto& [name, channels, weights, used] = found->second;
    const auto all = static_cast<double>(weights);
    const int64_t trained = std::max(used, weights - share_count(backward_sparsity, weights));
    const double a_weight = static_cast<double>(layer.macs) / all;
    macs.dense += static_cast<double>(layer.macs);
    macs.in_use += a_weight * static_cast<double>(used);
    macs.trained += a_weight * static_cast<double>(trained);
  }
  return macs;
}

/// Of the stage's steps those in which all gradients of weights are looked at.
double dense_gradients(const RegrowConfig& config, const RegrowthInfo& method, const StageLength& stage) {
  if (method.needs == GrowNeeds::average || method.trains == Trains::all) return 1;
  if (method.needs != GrowNeeds::gradient) return 0;
  const RegrowSchedule schedule = regrow_schedule(config, stage);
  int64_t moves = 0;
  for (int64_t step = schedule.begin; step <= schedule.end; step += schedule.every)
    moves += schedule.share_at(step) > 0;
  return static_cast<double>(moves) / static_cast<double>(stage.steps);
}

}  // namespace

double training_macs_share(const TrainConfig& train, Module& model, const Shape& input,
                           const StageLength& stage) {
  const RegrowthInfo& method = regrowths().named(train.regrow->type);
  const ExtraOptions extra = train.regrow->extra.with_defaults(method.extra, "regrow " + method.name);
  const bool explores = method.trains == Trains::explored;
  const WayMacs macs = macs_of_way(model, input, explores ? extra.number("backward_sparsity") : 1.0);
  const double at_moves = dense_gradients(*train.regrow, method, stage);
  const double to_weights = at_moves * macs.dense + (1 - at_moves) * macs.trained;
  return (2 * macs.in_use + to_weights) / (3 * std::max(macs.dense, 1.0));
}

}  // namespace espalier

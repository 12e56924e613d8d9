#include "espalier/train/channel_pruning.h"

#include <fmt/format.h>

#include "espalier/autograd/ops.h"
#include "espalier/prune/signals.h"
#include "espalier/train/build.h"
#include "espalier/train/interrupt.h"

namespace espalier {

ChannelPruning::ChannelPruning(const Config& config, const PruneConfig& prune, Module& model,
                               const Dataset& data)
    : config_(config),
      prune_(prune),
      model_(model),
      data_(data),
      options_(channel_prune_options(prune, static_cast<uint64_t>(config.seed))) {}

ChannelPruneResult ChannelPruning::act(const WholeNetwork& whole, double progress) {
  ChannelPruneOptions options = options_;
  options.signals = [this](Looks looks) { return signals(looks); };
  options.latency_ms = [this](const std::vector<AxisCut>& cuts) { return latency(cuts); };
  if (prune_.verify) {
    Loader loader = signal_loader(config_, data_, Looks::at_weights);
    loader.start_epoch(0);
    Batch batch;
    loader.next(batch);
    options.verify = batch.images;
  }
  return prune_channels(model_, config_.model.input, whole, options, progress);
}

WholeNetwork ChannelPruning::whole() const { return whole_network(model_, config_.model.input); }

Signals ChannelPruning::signals(Looks looks) const {
  Loader loader = signal_loader(config_, data_, looks);
  int64_t epoch = 0;
  loader.start_epoch(epoch);
  return gather_signals(model_, looks, prune_.batches, [&](int64_t) {
    stop_if_interrupted();
    Batch batch;
    while (!loader.next(batch)) loader.start_epoch(++epoch);
    return ops::softmax_cross_entropy(model_.forward(Variable(batch.images)), batch.labels).loss;
  });
}

/// Of a fresh network of the same shapes: what its weights are does not matter.
double ChannelPruning::latency(const std::vector<AxisCut>& cuts) const {
  stop_if_interrupted();
  const auto fresh = make_model(config_.model, static_cast<uint64_t>(config_.seed));
  cut(*fresh, model_.history);
  cut(*fresh, cuts);
  return latency_ms(*fresh, config_.model.input);
}

void ChannelPruneCallback::on_stage_begin(TrainState& s) {
  if (!s.position.whole) s.position.whole = pruning_.whole();
}

void ChannelPruneCallback::after_step(TrainState& s) {
  const int64_t step = s.position.step - 1;
  if (!schedule_.acts_at(step)) return;
  const auto result = pruning_.act(*s.position.whole, schedule_.sparsity_at(step, 1.0));
  console_.live(fmt::format("{}  step {}  {:.2f}x fewer MACs", s.stage, s.position.step, result.speedup()));
}

}  // namespace espalier

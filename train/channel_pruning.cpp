#include "espalier/train/channel_pruning.h"

#include <fmt/format.h>

#include <algorithm>

#include "espalier/autograd/ops.h"
#include "espalier/core/interrupt.h"
#include "espalier/prune/report.h"
#include "espalier/prune/signals.h"
#include "espalier/train/build.h"

namespace espalier {

ChannelPruning::ChannelPruning(const Config& config, const PruneConfig& prune, Module& model,
                               const Dataset& data, bool stoppable)
    : config_(config),
      prune_(prune),
      model_(model),
      data_(data),
      stoppable_(stoppable),
      options_(channel_prune_options(prune, static_cast<uint64_t>(config.seed))) {}

ChannelPruneResult ChannelPruning::act(const WholeNetwork& whole, double progress) {
  ChannelPruneOptions options = options_;
  options.signals = [this](Looks looks) { return signals(looks); };
  options.latency_ms = [this](const std::vector<AxisCut>& cuts) { return latency(cuts); };
  options.before_cut = [this] { stop_here(); };
  if (prune_.verify) {
    Loader loader = signal_loader(config_, data_, Looks::at_weights);
    loader.start_epoch(0);
    Batch batch;
    loader.next(batch);
    options.verify = batch.images;
  }
  return prune_channels(model_, config_.model.input, whole, options, progress);
}

WholeNetwork ChannelPruning::whole() const {
  WholeNetwork whole = whole_network(model_, config_.model.input);
  if (options_.target.kind == Target::latency_ms) whole.latency_ms = latency({});
  return whole;
}

void ChannelPruning::stop_here() const {
  if (stoppable_) stop_if_interrupted();
}

Signals ChannelPruning::signals(Looks looks) const {
  Loader loader = signal_loader(config_, data_, looks);
  loader.start_epoch(0);
  const int64_t wanted = prune_.batches.value_or(options_.scoring.criterion.batches);
  return gather_signals(model_, looks, std::min(wanted, loader.batches()), [&](int64_t) {
    stop_here();
    Batch batch;
    loader.next(batch);
    return ops::softmax_cross_entropy(model_.forward(Variable(batch.images)), batch.labels).loss;
  });
}

double ChannelPruning::latency(const std::vector<AxisCut>& cuts) const {
  stop_here();
  return latency_after(config_, model_, cuts);
}

void ChannelPruneCallback::on_stage_begin(TrainState& s) {
  if (!s.position.whole) s.position.whole = pruning_.whole();
}

void ChannelPruneCallback::after_step(TrainState& s) {
  const int64_t step = s.position.step - 1;
  if (!schedule_.acts_at(step)) return;
  const auto result = pruning_.act(*s.position.whole, schedule_.sparsity_at(step, 1.0));
  if (result.cuts.empty()) return;
  s.position.chosen.clear();  // the regularizer's channels have other numbers now
  console_.line(fmt::format("{}  step {}  {}", s.stage, s.position.step, channel_line(result)));
}

}  // namespace espalier

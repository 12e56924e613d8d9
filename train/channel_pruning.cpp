#include "espalier/train/channel_pruning.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "espalier/core/interrupt.h"
#include "espalier/core/isa.h"
#include "espalier/core/table.h"
#include "espalier/prune/report.h"
#include "espalier/prune/signals.h"
#include "espalier/train/build.h"
#include "espalier/train/evaluate.h"

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
  if (options_.target.kind != Target::latency_ms || !whole.history)
    return prune_channels(model_, config_.model.input, whole, options, progress);
  WholeNetwork now = whole;  // on the machine as it is now, on which the model is measured, too
  now.latency_ms = latency_ms(*network_of_shapes(config_, *whole.history), config_.model.input);
  return prune_channels(model_, config_.model.input, now, options, progress);
}

WholeNetwork ChannelPruning::whole() const { return whole_network(model_, config_.model.input); }

void ChannelPruning::measure(ChannelPruneResult& result, const WholeNetwork& whole) const {
  if (!whole.history || model_.history == *whole.history) {  // the same shapes are as fast
    result.latency_ms = latency_ms(model_, config_.model.input);
    return;
  }
  const auto before = network_of_shapes(config_, *whole.history);
  const PairedTimes times = latencies_ms(*before, model_, config_.model.input);
  result.latency_before_ms = times.first;
  result.latency_ms = times.second;
}

void ChannelPruning::stop_here() const {
  if (stoppable_) stop_if_interrupted();
}

Signals ChannelPruning::signals(Looks looks) const {
  Loader loader = signal_loader(config_, data_, looks);
  loader.start_epoch(0);
  const int64_t wanted = prune_.batches.value_or(options_.scoring.criterion.batches);
  const auto loss = build_loss(config_);
  return gather_signals(model_, looks, std::min(wanted, loader.batches()), [&](int64_t) {
    stop_here();
    Batch batch;
    loader.next(batch);
    return loss->measure(model_.forward(Variable(batch.images)), batch.labels).loss;
  });
}

std::vector<std::string> ChannelPruning::warnings(const ChannelPruneResult& result) const {
  std::vector<std::string> lines;
  if (std::string idle = idle_target(result); !idle.empty()) lines.push_back(std::move(idle));
  if (const auto& forced = result.forced)
    lines.push_back(fmt::format("min_ratio takes {} of {} channels, ratio {} asks for {}",
                                grouped(forced->channels), grouped(forced->of), options_.target.value,
                                grouped(forced->asked)));
  return lines;
}

std::string ChannelPruning::idle_target(const ChannelPruneResult& result) const {
  const Target& target = options_.target;
  const bool asks = target.kind != Target::ratio && !(target.kind == Target::speedup && target.value == 1);
  if (!asks || result.after.parameters != result.before.parameters) return "";
  const auto line = [&](const std::string& asked, const std::string& has) {
    return fmt::format("{} {} is met already{}: nothing is cut", target_names()[target.kind], asked, has);
  };
  const auto counted = [&](int64_t has) {
    constexpr double most = 1e15;
    return line(grouped(std::llround(std::min(target.value, most))), ", the network has " + grouped(has));
  };
  switch (target.kind) {
    case Target::macs:
      return counted(result.before.macs);
    case Target::parameters:
      return counted(result.before.parameters);
    case Target::bytes:
      return counted(result.before.bytes);
    default:
      return line(fmt::format("{}", target.value), "");
  }
}

double ChannelPruning::latency(const std::vector<AxisCut>& cuts) const {
  stop_here();
  return latency_after(config_, model_, cuts);
}

std::string width_hint(const PruneConfig& prune, Module& model) {
  const int64_t floats = isa() == Isa::avx512 ? 16 : isa() == Isa::avx2 ? 8 : 1;  // of a vector
  const auto ragged = [&](const LayerWidth& width) {
    return width.weight->shape().axes() == 4 && width.after % floats != 0;
  };
  if (prune.round_to > 1 || std::ranges::none_of(cut_widths(model), ragged)) return "";
  return fmt::format("widths that are multiples of {0} run faster: \"round_to\": {0}", floats);
}

void ChannelPruneCallback::on_stage_begin(TrainState& s) {
  if (!s.position.whole) s.position.whole = pruning_.whole();
}

void ChannelPruneCallback::after_step(TrainState& s) {
  s.pruned.reset();
  const int64_t step = s.position.step - 1;
  if (!schedule_.acts_at(step)) return;
  PruneEvent event(pruning_.config(), s.model, s.macs);
  auto result = pruning_.act(*s.position.whole, schedule_.sparsity_at(step, 1.0));
  s.macs = result.after.macs;
  event.end(s.model, s.macs);
  s.pruned = std::move(event);
  if (!result.cuts.empty()) {
    console_.line(fmt::format("{}  step {}  {}", s.stage, s.position.step, channel_line(result)));
  }
  if (step == schedule_.last()) say_what_is_saved(s, std::move(result));
}

void ChannelPruneCallback::say_what_is_saved(const TrainState& s, ChannelPruneResult last) {
  for (const std::string& line : pruning_.warnings(last))
    console_.warn(fmt::format("warning: stage '{}': {}", s.stage, line));
  pruning_.measure(last, *s.position.whole);
  console_.line(fmt::format("{}  {}", s.stage, speed_line(last)));
  if (const std::string hint = width_hint(pruning_.config(), s.model); !hint.empty()) console_.line(hint);
}

}  // namespace espalier

// Channel pruning in a run: the pruner of prune/channel_pruner.h with what only a run has, which is data to
// look at and fresh networks to time.
#pragma once

#include "espalier/prune/channel_pruner.h"
#include "espalier/prune/schedule.h"
#include "espalier/train/callback.h"
#include "espalier/train/console.h"

namespace espalier {

class ChannelPruning {
 public:
  /// Of `prune`, one of the config's; `data` are the training images. All must outlive it. `stoppable`: an
  /// interrupt stops it, and leaves the model as it was; else it finishes, and whoever trains sees to it.
  ChannelPruning(const Config& config, const PruneConfig& prune, Module& model, const Dataset& data,
                 bool stoppable);

  /// The model as it is now.
  WholeNetwork whole() const;
  /// See prune_channels.
  ChannelPruneResult act(const WholeNetwork& whole, double progress = 1.0);
  /// Measures what cuts since `whole` saved of one image's milliseconds: of a fresh network of its shapes and
  /// of the model in turns, for a machine that others use, too, changes from minute to minute. Where nothing
  /// was cut, of the model alone.
  void measure(ChannelPruneResult& result, const WholeNetwork& whole) const;
  /// A line for each way in which what was done is hardly what was asked for.
  std::vector<std::string> warnings(const ChannelPruneResult& result) const;
  const PruneConfig& config() const { return prune_; }

 private:
  /// Where the network has met the target before the first cut, so that nothing is cut: a line that says so.
  /// Empty: it was cut, or the target itself asks for nothing (train/advice.h).
  std::string idle_target(const ChannelPruneResult& result) const;
  void stop_here() const;
  Signals signals(Looks looks) const;
  double latency(const std::vector<AxisCut>& cuts) const;

  const Config& config_;
  const PruneConfig& prune_;
  Module& model_;
  const Dataset& data_;
  bool stoppable_;
  ChannelPruneOptions options_;
};

/// What would make `model`, which `prune` has cut, faster: a round_to, where it has left convolutions with
/// widths that are no multiple of the vector's. Empty: nothing would.
std::string width_hint(const PruneConfig& prune, Module& model);

/// Cuts channels after each step on which the schedule acts: a part of the way to the target each time. After
/// the last it says what all of them have saved.
class ChannelPruneCallback : public Callback {
 public:
  ChannelPruneCallback(ChannelPruning pruning, const Schedule& schedule, Console& console)
      : pruning_(std::move(pruning)), schedule_(schedule), console_(console) {}
  void on_stage_begin(TrainState& state) override;
  void after_step(TrainState& state) override;

 private:
  void say_what_is_saved(const TrainState& state, ChannelPruneResult last);

  ChannelPruning pruning_;
  Schedule schedule_;
  Console& console_;
};

}  // namespace espalier

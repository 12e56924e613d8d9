// Pruning in a run: the pruner of prune/pruner.h with what only a run has, which is a config, data to look at
// and fresh networks to time.
#pragma once

#include "espalier/prune/pruner.h"
#include "espalier/run/config.h"
#include "espalier/run/console.h"
#include "espalier/train/callback.h"

namespace espalier {

/// What the config asks for, its random numbers by `key` (pruning_key in build.h); without what only a run
/// has: data and time.
PruneOptions prune_options(const PruneConfig& config, uint64_t key);
/// What the config's criterion needs.
Needs needs_of(const PruneConfig& config);
/// When a train stage that prunes does. UsageError for a schedule that goes beyond its steps, or leaves
/// early_stop nothing to judge.
Schedule prune_schedule(const TrainConfig& config, const StageLength& stage);
/// Error for all that pruning would fail at (check_prune). `original`: the model is as the stage will find
/// it, in shapes.
void check_pruning(const Config& config, const PruneConfig& prune, Module& model, bool original);

/// One of the config's pruners at work on a model.
class Pruning {
 public:
  /// `data` are the training images. All must outlive it. `train`: the stage that it acts in, whose loss its
  /// criterion looks at; it finishes whatever it does, and whoever trains sees to interrupts. Null: it acts
  /// at once, by the loss of the last stage that trains, and an interrupt stops it and leaves the model as it
  /// was.
  Pruning(const Config& config, const PruneConfig& prune, Module& model, const Dataset& data,
          const TrainConfig* train = nullptr);

  /// The model as it is now.
  OriginalNetwork original() const;
  /// From now on results say where the scores lie.
  void explain() { options_.explain = true; }
  /// What the config asks for, with what only a run has.
  PruneOptions options() const;
  /// See prune().
  PruneResult act(const OriginalNetwork& original) const;
  /// See GradualPruner::step.
  std::optional<PruneResult> act(const OriginalNetwork& original, const Schedule& schedule,
                                 int64_t step) const;
  /// Measures what cuts since `original` saved of one image's milliseconds: of a fresh network of its shapes
  /// and of the model in turns, since a machine that others use, too, changes from minute to minute. Where
  /// nothing was cut, only of the model.
  void measure(PruneResult& result, const OriginalNetwork& original) const;
  /// A line for each way in which what was done is hardly what was asked for.
  std::vector<std::string> warnings(const PruneResult& result) const;
  const PruneConfig& config() const { return prune_; }
  const Shape& input() const { return config_.model.input; }
  Needs needs() const { return options_.scoring.criterion.needs; }
  /// What it prunes: "filters", "4x16 blocks"; of 2:4, "weights".
  std::string units() const { return options_.unit.plural(); }

 private:
  /// Where the network has met the target before the first cut, so that nothing is cut: a line that says so.
  /// Empty: it was cut, or the target itself asks for nothing (run/advice.h).
  std::string idle_target(const PruneResult& result) const;
  void stop_here() const;
  Signals signals(const Criterion& criterion) const;
  OriginalNetwork timed(const OriginalNetwork& original) const;

  const Config& config_;
  const PruneConfig& prune_;
  Module& model_;
  const Dataset& data_;
  const TrainConfig* train_;
  PruneOptions options_;
};

/// What would make `model`, which `prune` has cut, faster: a round_to, where it has left convolutions with
/// widths that are no multiple of the vector's. Empty: nothing would.
std::string width_hint(const PruneConfig& prune, Module& model);

/// Prunes after each step on which the schedule acts: a part of the way to the target each time. After the
/// last cut it says what all of them have saved; as the stage ends, what is left of layers that were masked.
class PruneCallback : public Callback {
 public:
  PruneCallback(Pruning pruning, const Schedule& schedule, Console& console)
      : pruning_(std::move(pruning)), schedule_(schedule), console_(console) {}
  void on_stage_begin(TrainState& state) override;
  /// Adds up what the criterion movement goes by.
  void after_backward(TrainState& state) override;
  void after_step(TrainState& state) override;
  void on_stage_end(TrainState& state) override;
  void add_state(const std::vector<Parameter*>& parameters) const override;
  std::string name() const override { return "prune"; }
  /// The network before the stage's first cut; of masks, which change no shapes, nothing.
  nlohmann::ordered_json state(const TrainState& state) override;
  void restore(const nlohmann::ordered_json& state, const std::string& place) override;
  /// That network, of the position's stage; nothing before it has begun, or where it cuts none.
  static std::optional<OriginalNetwork> original_in(const Position& position);

 private:
  bool adds_up_movement() const { return pruning_.needs() == Needs::movement; }
  void say_what_is_saved(const TrainState& state, PruneResult last) const;

  Pruning pruning_;
  Schedule schedule_;
  Console& console_;
  std::optional<OriginalNetwork> original_ = {};
};

/// What shapes a train stage, in the order in which it acts (CallbackInfo in train/callbacks.h).
struct StageCallbacks {
  std::vector<std::unique_ptr<Callback>> made;  ///< all but `evaluator`
  std::vector<Callback*> in_order;
};
/// Those that its config asks for, and `evaluator` among them. `data`: the training images; `schedule`: the
/// pruner's, if it has one.
StageCallbacks stage_callbacks(const Config& config, const TrainConfig& train, Module& model,
                               const Dataset& data, const std::optional<Schedule>& schedule, Console& console,
                               Callback& evaluator);

/// A line for each layer that stages from the one numbered `from` on will leave next to nothing of, as far as
/// their targets say it (foreseen_collapse): "stage 'pruned': layer collapse: ...". `model` is as that stage
/// finds it; of stages after one that cuts channels, whose layers are others, nothing is said.
std::vector<std::string> foreseen_warnings(const Config& config, Module& model, size_t from = 0);

/// The sparsity of each layer, and of how many units nothing is left; a warning for layers that hardly
/// anything is left of.
void report_sparsity(const std::string& stage, Module& model, const Shape& input, Console& console);

}  // namespace espalier

#include "espalier/run/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "espalier/core/compute_device.h"
#include "espalier/core/measure.h"
#include "espalier/nn/network.h"
#include "espalier/prune/collapse.h"
#include "espalier/prune/mask.h"
#include "espalier/run/build.h"
#include "espalier/run/distill.h"
#include "espalier/run/pruning.h"
#include "espalier/train/callbacks.h"
#include "espalier/train/trainer.h"
#include "espalier/util/stopwatch.h"

namespace espalier {
namespace {

/// A stage's model, less what stages before it cut, and its optimizer on real data: its time a step, its
/// memory.
class Trial {
 public:
  /// `teacher`: null unless the stage has one.
  Trial(const Config& config, size_t stage, const std::vector<AxisCut>& cuts, Loader& loader,
        std::unique_ptr<Module> teacher)
      : config_(*config.stages[stage].train),
        input_(config.model.input),
        model_(network_after(config, cuts)),
        distillation_(teacher ? std::make_unique<Distillation>(config, stage, *model_, std::move(teacher),
                                                               *loss_, loader.batch())
                              : nullptr),
        frozen_(*model_, frozen_layers(config_, *model_)),
        optimizer_(build_optimizer(config_.optimizer, *model_, beside())),
        state_{.stage = config.stages[stage].name,
               .config = config_,
               .model = *model_,
               .optimizer = *optimizer_,
               .position = position_,
               .epoch_steps = epoch_steps(config_, loader.batches()),
               .total_steps = stage_steps(config_, loader.batches()),
               .loss_function = distillation_ ? distillation_->loss() : *loss_} {
    for (const auto& callback : callbacks_) callback->on_stage_begin(state_);
  }

  /// Seconds an image, undisturbed, of some steps after two that warm up.
  double image_seconds(Loader& loader) {
    std::vector<Callback*> callbacks;
    for (const auto& callback : callbacks_) callbacks.push_back(callback.get());
    Trainer trainer(state_, callbacks);
    constexpr int64_t warm_up = 2, min_steps = 5, max_steps = 1000;
    std::vector<double> seconds;
    const Stopwatch watch;
    loader.start_epoch(0);
    while (position_.step < min_steps || (position_.step < max_steps && watch.seconds() < 0.3)) {
      state_.lr = learning_rate(config_.schedule, config_.optimizer.lr, position_.step, state_.total_steps,
                                state_.epoch_steps);
      const int64_t images = position_.trained_images;  // the last step of an epoch may have fewer
      const Stopwatch one;
      const bool stepped = trainer.step(loader);
      synchronize(compute_device());  // a card works asynchronously to the host
      if (stepped) {
        if (position_.step++ >= warm_up)
          seconds.push_back(one.seconds() / static_cast<double>(position_.trained_images - images));
      } else {
        loader.start_epoch(0);
      }
    }
    return undisturbed(std::move(seconds));
  }

  /// `whole`: bytes of the network with nothing cut.
  void add_to(MemoryPlan& memory, double whole) {
    auto parameters = model_->parameters();
    const auto more = beside();
    parameters.insert(parameters.end(), more.begin(), more.end());
    memory.include(config_, parameters, whole);
    if (distillation_) memory.include_teacher(distillation_->teacher().network(), input_);
  }
  /// Seconds an image that the stage's teacher takes of those; 0 where it has none, or never asks it.
  double teacher_seconds() {
    return distillation_ && distillation_->asks() ? distillation_->teacher().image_seconds(input_) : 0;
  }
  int64_t teacher_macs() {
    return distillation_ ? Network(distillation_->teacher().network(), input_).totals.macs : 0;
  }

 private:
  static std::unique_ptr<Module> network_after(const Config& config, const std::vector<AxisCut>& cuts) {
    auto network = build_model(config);
    cut(*network, cuts);
    return network;
  }
  /// What the stage trains besides its network.
  std::vector<Parameter*> beside() const {
    return distillation_ ? distillation_->parameters() : std::vector<Parameter*>();
  }

  const TrainConfig& config_;
  const Shape input_;
  const std::unique_ptr<Loss> loss_ = build_loss(config_);
  const std::unique_ptr<Module> model_;
  const std::unique_ptr<Distillation> distillation_;
  Frozen frozen_;
  std::unique_ptr<Optimizer> optimizer_;
  Position position_;
  TrainState state_;
  const std::vector<std::unique_ptr<Callback>> callbacks_ = step_callbacks(config_);
};

/// Seconds that evaluating takes an image, undisturbed, of some batches.
double evaluation_seconds(const Config& config, Module& model, const Dataset& test) {
  std::vector<int64_t> rows(
      static_cast<size_t>(std::min(test.size(), std::max<int64_t>(config.data.batch, 250))));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  const Dataset sample = subset(test, rows, test.name);
  Loader loader = evaluation_loader(config, sample);
  const auto loss = build_loss(config);
  evaluate(model, loader, {.loss = *loss});
  std::vector<double> seconds;
  for (const Stopwatch watch; seconds.size() < 3 || (seconds.size() < 100 && watch.seconds() < 0.1);) {
    const Stopwatch one;
    evaluate(model, loader, {.loss = *loss});
    seconds.push_back(one.seconds() / static_cast<double>(sample.size()));
  }
  return undisturbed(std::move(seconds));
}

/// On average: an epoch's last step may have fewer than the others.
double images_a_step(const TrainConfig& train, const Loader& loader, const Dataset& data) {
  const int64_t images =
      std::min(data.size(), loader.batches() * loader.batch());  // less those that are dropped
  return static_cast<double>(images) / static_cast<double>(epoch_steps(train, loader.batches()));
}

/// Whether what goes is less than a filter or a column, so that either may be gone without being meant.
bool is_fine(const PruneConfig& prune) {
  const Unit::Kind unit = unit_named(prune.unit).kind;
  return unit == Unit::weight || unit == Unit::n_of_m || unit == Unit::kernel || unit == Unit::block;
}

/// How often a train stage evaluates: after every so many epochs, and after the last.
int64_t evaluations(const TrainConfig& train, int64_t batches) {
  const int64_t steps = stage_steps(train, batches), epoch = epoch_steps(train, batches);
  const int64_t epochs = (steps + epoch - 1) / epoch;
  return (epochs + train.eval_every - 1) / train.eval_every;
}

}  // namespace

Plan make_plan(const Config& config, const DataSplits& data) {
  Plan plan;
  Loader loader = training_loader(config, data.train);
  Config in_full = config;  // a last batch of one image, to which a stage need not come, may have no variance
  in_full.data.drop_last = true;
  Loader timed = training_loader(in_full, data.train);
  const auto model = build_model(config);
  check_batches(config, *model, loader);

  const Network network(*model, config.model.input);
  MemoryPlan& memory = plan.memory;
  const double uncut = whole_bytes(config);
  memory.include(data);
  memory.parameters = static_cast<double>(network.totals.bytes);
  memory.batch = loader.batch();
  memory.activations = most_activations(config, *model) * static_cast<double>(memory.batch);

  double an_image = evaluation_seconds(config, *model, data.test);
  int64_t macs = network.totals.macs;
  std::vector<AxisCut> cuts;  // of the stages so far, from weights that have learned nothing
  bool whole = true;          // no stage before has changed shapes
  const auto cut_channels = [&](const PruneConfig& prune, StagePlan& row) {
    if (prune.remove_dead.value_or(false))
      return;  // which those are the stages before it say, and they have not run
    const Stopwatch watch;
    Pruning pruning(config, prune, *model, data.train);
    try {
      const auto result = pruning.act(pruning.original());
      cuts.insert(cuts.end(), result.cuts.begin(), result.cuts.end());
      for (const std::string& line : pruning.warnings(result))
        row.warnings.push_back(fmt::format("stage '{}': {}", row.name, line));
    } catch (const Error& error) {
      if (whole) throw;
      row.warnings.push_back(
          fmt::format("stage '{}' may fail, as it does with fresh weights: {}", row.name, error.what()));
    }
    row.seconds += watch.seconds();
    whole = false;
    an_image = evaluation_seconds(config, *model, data.test);
    macs = Network(*model, config.model.input).totals.macs;
  };

  // Masks cost nothing, but some say what they will leave of each layer: those of weights that no stage has
  // trained, and those that take the same share of each layer whatever its weights are.
  bool trained = false;
  const auto mask = [&](const PruneConfig& prune, StagePlan& row) {
    const bool by_layer = scopes().named(prune.scope).within_layers();
    const auto warn = [&](const std::vector<std::string>& lines) {
      for (const std::string& line : lines)
        row.warnings.push_back(fmt::format("stage '{}': {}", row.name, line));
    };
    const bool is_of_steps = needs_of(prune) == Needs::movement;
    if (is_of_steps || (trained && !(by_layer && prune.sparsity)))
      return warn(foreseen_collapse(*model, config.model.input, prune_options(prune, pruning_key(config))));
    const Stopwatch watch;
    const Pruning pruning(config, prune, *model, data.train);
    warn(pruning.warnings(pruning.act(pruning.original())));
    warn(collapsed_layers(*model));
    if (const std::string dead = dead_line(dead_units(*model)); !trained && is_fine(prune) && !dead.empty())
      warn({dead});
    if (prune.remove) remove_masks(*model);
    row.seconds += watch.seconds();
  };

  std::map<std::string, std::vector<AxisCut>> left;  // cuts by the end of each stage
  const auto teacher_of = [&](const TrainConfig& train) -> std::unique_ptr<Module> {
    if (!train.distill) return nullptr;
    const auto& stage = train.distill->teacher_stage;
    return planned_teacher(config, *train.distill, stage ? left.at(*stage) : std::vector<AxisCut>());
  };

  for (size_t i = 0; i < config.stages.size(); ++i) {
    const StageConfig& stage = config.stages[i];
    StagePlan row{.name = stage.name};
    const PruneConfig* masks = stage.pruning();
    if (masks && cuts_channels(*masks)) masks = nullptr;
    if (masks && stage.prune) mask(*masks, row);
    if (stage.train) trained = true;
    if (masks && stage.train) mask(*masks, row);
    const PruneConfig* cut = stage.pruning();
    if (cut && !cuts_channels(*cut)) cut = nullptr;
    if (cut && stage.prune) {
      memory.include_cut(model->parameters(), uncut);
      cut_channels(*cut, row);
    }
    if (stage.train) {
      Trial trial(config, i, cuts, loader, teacher_of(*stage.train));
      const double teacher = trial.teacher_seconds(), image = trial.image_seconds(timed);
      trial.add_to(memory, uncut);
      const StageLength length = stage_length(*stage.train, loader.batches());
      row.steps = length.steps;
      row.climb_steps = climb_steps(stage.train->schedule, length.epoch_steps);
      if (stage.train->prune) row.pruning = prune_schedule(*stage.train, length);
      row.images_per_second = 1 / image;
      row.teacher_macs = trial.teacher_macs();
      row.teacher_share = teacher / image;
      row.seconds +=
          static_cast<double>(row.steps) * images_a_step(*stage.train, loader, data.train) * image +
          static_cast<double>(evaluations(*stage.train, loader.batches())) * an_image *
              static_cast<double>(data.validation.size() + data.test.size());
      if (cut) cut_channels(*cut, row);
    }
    row.seconds += an_image * static_cast<double>(data.test.size());
    row.macs = macs;
    left[stage.name] = cuts;
    plan.stages.push_back(row);
  }
  return plan;
}

}  // namespace espalier

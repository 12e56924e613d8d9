// Each kind of nonsense is a function that says where it is and why, and a row of a table at the end.
#include "espalier/run/advice.h"

#include <fmt/format.h>

#include <algorithm>

#include "espalier/prune/regrow.h"
#include "espalier/run/build.h"
#include "espalier/run/pruning.h"
#include "espalier/util/table.h"

namespace espalier {
namespace {

/// Takes a JSON pointer, from what a rule looks at on, and what is odd there.
using Tell = std::function<void(const std::string& pointer, const std::string& text)>;

// --- Of a pruner ---

void all_is_pruned(const PruneConfig& prune, const Tell& tell) {
  const bool everywhere = prune.include.empty() && prune.exclude.empty();
  if (prune.sparsity == 1.0 && everywhere)  // with allow_empty, without which it is refused (check_prune)
    tell("/sparsity", "1 leaves nothing: the network will say the same of every image");
  if (prune.quantile == 1.0 && !prune.allow_empty)
    tell("/quantile", "1 leaves what scores highest, and nothing else");
}

void nothing_is_pruned(const PruneConfig& prune, const Tell& tell) {
  if (prune.reinitialize || prune.rewind) return;
  if (prune.sparsity == 0.0 && prune.sparsity_of.empty()) tell("/sparsity", "0 prunes nothing");
  if (prune.threshold == 0.0) tell("/threshold", "0 prunes nothing: no score is below it");
  if (prune.quantile == 0.0) tell("/quantile", "0 prunes nothing: no score is below the lowest");
  if (prune.ratio == 0.0) tell("/ratio", "0 cuts nothing");
  if (prune.speedup == 1.0) tell("/speedup", "1 cuts nothing: it is MACs before over MACs after");
}

/// LAMP rescales the scores of a layer, and keeps their order.
void lamp_within_layers(const PruneConfig& prune, const Tell& tell) {
  const bool by_layer = scopes().named(prune.scope).within_layers();
  if (prune.criterion.type == "lamp" && by_layer && (prune.sparsity || prune.quantile))
    tell("/criterion", fmt::format("lamp in scope {} prunes what {} does: it makes layers comparable, which "
                                   "only scope global asks for",
                                   prune.scope, prune.unit == "weight" ? "l1" : "l2"));
}

void looks_at_no_data(const PruneConfig& prune, const Tell& tell) {
  if (prune.batches && !kind_of(needs_of(prune)).data)
    tell("/batches", fmt::format("{} looks at no batch", prune.criterion.type));
}

// --- Of a train stage ---

void rate_nobody_uses(const TrainConfig& train, const Tell& tell) {
  const OptimizerInfo& info = optimizers().named(train.optimizer.type);
  const auto judge = [&](const std::string& pointer, double rate) {
    if (rate < info.min_lr || rate > info.max_lr)
      tell(pointer, fmt::format("{} is a rate that hardly anybody uses with {}: from {} to {} are in use",
                                rate, info.name, info.min_lr, info.max_lr));
  };
  judge("/optimizer/lr", train.optimizer.lr);
  for (const auto& [layers, rate] : train.optimizer.lr_of) judge("/optimizer/lr_of/" + layers, rate);
  if (train.schedule.type == "onecycle" && train.schedule.max_lr > 0)
    judge("/schedule/max_lr", train.schedule.max_lr);
}

void decay_nobody_uses(const TrainConfig& train, const Tell& tell) {
  constexpr double max_decay = 1;
  if (train.optimizer.weight_decay > max_decay)
    tell("/optimizer/weight_decay", fmt::format("{} lets hardly any weight live: up to {} are in use",
                                                train.optimizer.weight_decay, max_decay));
}

void more_smoothing_than_target(const TrainConfig& train, const Tell& tell) {
  constexpr double max_smoothing = 0.5;
  if (train.label_smoothing > max_smoothing)
    tell("/label_smoothing",
         fmt::format("{} leaves less than half of the target to the label: up to {} are in use",
                     train.label_smoothing, max_smoothing));
}

void teacher_that_is_never_asked(const TrainConfig& train, const Tell& tell) {
  if (train.distill && train.distill->weight == 0 && train.distill->features.empty())
    tell("/distill/weight", "0 asks the teacher nothing: the stage trains as without it");
}

void temperature_nobody_uses(const TrainConfig& train, const Tell& tell) {
  constexpr double max_temperature = 50;
  if (train.distill && train.distill->temperature > max_temperature)
    tell("/distill/temperature",
         fmt::format("{} leaves hardly a difference between classes: up to {} are in use",
                     train.distill->temperature, max_temperature));
}

/// Zeros are all alike: of those that no gradient reaches none ever comes to be among the largest.
void averages_away_zeros(const TrainConfig& train, const Tell& tell) {
  if (train.ema > 0 && train.regularize && train.regularize->type == "l1_proximal")
    tell("/ema",
         "l1_proximal makes weights 0 in some steps and not in others, and their averages are not 0: "
         "little of what it does is left at the stage's end");
}

void explores_only_zeros(const TrainConfig& train, const Tell& tell) {
  if (!train.regrow || train.prune || regrowths().named(train.regrow->type).trains != Trains::explored)
    return;
  tell("/regrow/type", fmt::format("{} begins with zeros where an earlier stage has masked weights, most of "
                                   "which never train: a 'prune' beside it masks them without that",
                                   train.regrow->type));
}

// --- Of a train stage's length ---

/// Those that it begins: a stage of steps may end inside its last.
int64_t epochs_of(const StageLength& length) {
  return (length.steps + length.epoch_steps - 1) / length.epoch_steps;
}

std::string counted(int64_t number, const char* noun) { return join(number, " ", plural(number, noun)); }

void drops_beyond_the_end(const TrainConfig& train, const StageLength& length, const Tell& tell) {
  const ScheduleOptions& schedule = train.schedule;
  const int64_t epochs = epochs_of(length);
  if (schedule.type == "step" && schedule.step_size >= epochs)
    tell("/schedule/step_size",
         fmt::format("{}: the rate never drops in {}", schedule.step_size, counted(epochs, "epoch")));
  if (schedule.type == "multistep" && schedule.milestones.back() >= epochs)
    tell("/schedule/milestones", fmt::format("the rate never drops at {} in {}", schedule.milestones.back(),
                                             counted(epochs, "epoch")));
}

void warms_up_to_the_end(const TrainConfig& train, const StageLength& length, const Tell& tell) {
  const ScheduleOptions& schedule = train.schedule;
  const int64_t climb = climb_steps(schedule, length.epoch_steps);
  if (climb < length.steps) return;
  const auto warn = [&](const char* pointer, double given) {
    tell(pointer, fmt::format("{}: the rate is still climbing when the stage ends, after {}", given,
                              counted(length.steps, "step")));
  };
  if (schedule.warmup_steps > 0) warn("/schedule/warmup_steps", static_cast<double>(schedule.warmup_steps));
  if (schedule.warmup_epochs > 0) warn("/schedule/warmup_epochs", schedule.warmup_epochs);
}

/// The first evaluation is the best so far, and as many as `patience` must follow it.
void patience_beyond_the_end(const TrainConfig& train, const StageLength& length, const Tell& tell) {
  if (!train.early_stop) return;
  const int64_t evaluations = (epochs_of(length) + train.eval_every - 1) / train.eval_every;
  if (train.early_stop->patience + 1 >= evaluations)
    tell("/early_stop/patience", fmt::format("{} of {}: it can never stop early", train.early_stop->patience,
                                             counted(evaluations, "evaluation")));
}

/// After three times what it averages over, 5 % of it are still the weights of the beginning.
void averages_over_the_beginning(const TrainConfig& train, const StageLength& length, const Tell& tell) {
  if (train.ema == 0) return;
  const double steps = 1 / (1 - train.ema);
  if (3 * steps > static_cast<double>(length.steps))
    tell("/ema", fmt::format("{} averages over about {:.0f} steps, which is much for {}: evaluations see "
                             "weights of long before",
                             train.ema, steps, counted(length.steps, "step")));
}

// --- Of the data ---

/// Published means and deviations come on pixels in 0..255, too.
void pixels_of_another_scale(const Config& config, const Tell& tell) {
  if (!config.data.normalize) return;
  const std::vector<double>& mean = config.data.normalize->mean;
  if (std::ranges::any_of(mean, [](double m) { return m > 1; }))
    tell("/data/normalize/mean",
         "above 1: pixels are in 0..1, so numbers that are meant for 0..255 are divided by 255");
}

void images_class_by_class(const Config& config, const Tell& tell) {
  const bool trains =
      std::ranges::any_of(config.stages, [](const auto& stage) { return stage.train.has_value(); });
  const DatasetInfo* info = datasets().find(config.data.type);
  if (info && info->comes_by_class && !config.data.shuffle && trains)
    tell("/data/shuffle",
         "false: images come class by class, and a batch would hold images of only one class");
}

void useless_mirror_images(const Config& config, const Tell& tell) {
  const DataConfig& data = config.data;
  const DatasetInfo* info = datasets().find(data.type);
  if (!info || info->no_mirror.empty() || data.path)
    return;  // another set in such files is named by its path
  for (size_t i = 0; i < data.augment.size(); ++i)
    if (data.augment[i].type == "flip" && data.augment[i].probability > 0)
      tell(fmt::format("/data/augment/{}", i), "flip: " + info->no_mirror);
}

// --- Of stages that follow each other ---

/// A target that what went before may have reached already.
struct Goal {
  const char* field;
  std::optional<double> PruneConfig::*value;
  bool is_most;  ///< else it is the least
};
constexpr Goal goals[] = {{"sparsity", &PruneConfig::sparsity, false},
                          {"macs", &PruneConfig::macs, true},
                          {"parameters", &PruneConfig::parameters, true},
                          {"bytes", &PruneConfig::bytes, true}};

/// Where `later` counts what `earlier` has pruned; a share of all does so, a layer's own only if both are.
bool counts_the_same(const PruneConfig& earlier, const PruneConfig& later) {
  if (unit_named(earlier.unit) != unit_named(later.unit) || cuts_channels(earlier) != cuts_channels(later))
    return false;
  if (later.unit == "channel") return true;  // those goals are the whole network's
  return earlier.include == later.include && earlier.exclude == later.exclude && !earlier.remove &&
         (later.scope == "global" || later.scope == earlier.scope);
}

void less_after_more(const std::vector<StageConfig>& stages, size_t stage, const Tell& tell) {
  const PruneConfig& later = *stages[stage].pruning();
  if (later.of == "remaining") return;  // more goes of what is left, however little is asked for
  if (later.remove) return;             // to let go of the masks is what it is for
  if ((later.reinitialize || later.rewind) && later.sparsity == 0.0)
    return;  // so are new weights, or old ones
  for (const Goal& goal : goals) {
    if (!(later.*goal.value)) continue;
    const double asked = *(later.*goal.value);
    for (size_t before = 0; before < stage; ++before) {
      const PruneConfig* earlier = stages[before].pruning();
      if (!earlier || !(earlier->*goal.value) || !counts_the_same(*earlier, later)) continue;
      const double had = *(earlier->*goal.value);
      if (goal.is_most ? asked < had : asked > had) continue;
      tell(fmt::format("/{}", goal.field),
           fmt::format("{} asks for no more than stage '{}' has done, whose {} is {}: nothing more goes",
                       asked, stages[before].name, goal.field, had));
      break;
    }
  }
}

void new_weights_that_nothing_trains(const std::vector<StageConfig>& stages, size_t stage, const Tell& tell) {
  const std::optional<PruneConfig>& prune = stages[stage].prune;
  if (!prune || !prune->reinitialize) return;
  const auto rest = stages.begin() + static_cast<std::ptrdiff_t>(stage);
  if (std::none_of(rest, stages.end(), [](const StageConfig& one) { return one.train.has_value(); }))
    tell("/reinitialize", "the run ends with new weights that no stage has trained");
}

constexpr void (*of_a_pruner[])(const PruneConfig&, const Tell&) = {all_is_pruned, nothing_is_pruned,
                                                                    lamp_within_layers, looks_at_no_data};
constexpr void (*of_training[])(const TrainConfig&, const Tell&) = {
    rate_nobody_uses,        decay_nobody_uses,   more_smoothing_than_target, teacher_that_is_never_asked,
    temperature_nobody_uses, explores_only_zeros, averages_away_zeros};
constexpr void (*of_lengths[])(const TrainConfig&, const StageLength&, const Tell&) = {
    drops_beyond_the_end, warms_up_to_the_end, patience_beyond_the_end, averages_over_the_beginning};
constexpr void (*of_data[])(const Config&, const Tell&) = {pixels_of_another_scale, images_class_by_class,
                                                           useless_mirror_images};
constexpr void (*of_pruners[])(const std::vector<StageConfig>&, size_t, const Tell&) = {
    less_after_more, new_weights_that_nothing_trains};

}  // namespace

std::vector<std::string> advice(const Config& config, int64_t batches) {
  std::vector<std::string> lines;
  const auto at = [&](const std::string& place) {
    return [&, place](const std::string& pointer, const std::string& text) {
      lines.push_back(fmt::format("{}{}{}: {}", config.file, config.file.empty() ? "" : ": ",
                                  schema::shown(place + pointer, config.set), text));
    };
  };
  for (const auto& rule : of_data) rule(config, at(""));
  for (size_t i = 0; i < config.stages.size(); ++i) {
    const StageConfig& stage = config.stages[i];
    const std::string place = stage_pointer(config, i);
    if (stage.train) {
      const Tell tell = at(place + "/train");
      for (const auto& rule : of_training) rule(*stage.train, tell);
      for (const auto& rule : of_lengths) rule(*stage.train, stage_length(*stage.train, batches), tell);
    }
    if (const PruneConfig* prune = stage.pruning()) {
      const Tell tell = at(place + (stage.train ? "/train/prune" : "/prune"));
      for (const auto& rule : of_a_pruner) rule(*prune, tell);
      for (const auto& rule : of_pruners) rule(config.stages, i, tell);
    }
  }
  return lines;
}

}  // namespace espalier

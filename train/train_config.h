// What a stage that trains, or prunes, is asked for, as structs: the part of a config that the loop and its
// callbacks read. Which fields configs have for it, and what these may be, is said in run/config*.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "espalier/optim/optimizer.h"
#include "espalier/optim/schedule.h"
#include "espalier/penalty/penalty.h"

namespace espalier {

struct OptimizerConfig : OptimizerOptions {
  /// Rates and weight decays of kinds of parameters (parameter_kinds in run/build.h) or layers
  /// (nn/names.h); of several entries that mean a parameter, the last counts.
  std::vector<std::pair<std::string, double>> lr_of = {}, decay = {};
  double clip_norm = 0.0;  ///< 0: no clipping of the gradient's norm
};

/// When a pruner that acts while training acts.
struct PruneScheduleConfig {
  std::string type = "one_shot";  ///< a row of prune_schedules() (prune/schedule.h)
  std::string in = "steps";       ///< steps (from 0), epochs or share of the stage: what the others count
  double begin = 0;
  std::optional<double> end;           ///< absent: the stage's last step
  std::optional<double> every = {};    ///< a config that is read always has it; absent: 100
  std::optional<double> initial = {};  ///< sparsity at `begin`, unless all goes at once; absent: 0
  std::vector<std::pair<double, double>> table = {};  ///< of type table: places, ascending, and sparsities
  ExtraOptions extra = {};                            ///< those that the row declares
};

/// Limits for layers, or for groups of channels that one of them makes.
struct LimitsConfig {
  std::vector<std::string> layers;
  std::optional<int64_t> min_channels;
  std::optional<double> min_ratio, max_ratio;  ///< absent, as the other: the stage's
};

/// In a config only the name, where it has no options of its own.
struct CriterionConfig {
  std::string type = "l1";  ///< a row of criteria() (prune/criterion.h)
  ExtraOptions extra = {};
};

struct PruneConfig {
  std::string unit = "weight";                     ///< a name of prune/unit.h
  std::optional<std::vector<int64_t>> block = {};  ///< rows and columns of unit block
  CriterionConfig criterion = {};
  std::string scope = "global";     ///< a row of prune/scope.cpp
  std::optional<double> sparsity;   ///< share of units that go, in 0..1
  std::optional<double> threshold;  ///< what scores below this value goes
  std::optional<double> quantile;   ///< what scores below this quantile of all scores in the scope goes
  std::vector<std::string> include, exclude;    ///< names of layers (nn/names.h)
  std::optional<PruneScheduleConfig> schedule;  ///< only inside `train`
  bool allow_empty = false;                     ///< a selection may leave nothing of a layer
  bool remove = false;  ///< after the stage: masks become plain zeros that later training may change
  std::optional<std::string> apply = {};       ///< zero, cut; absent: cut for channels, else zero
  std::optional<std::string> normalizer = {};  ///< absent: the criterion's
  std::optional<std::string> rewind = {};      ///< an earlier stage, to whose weights those that stay go back
  bool reinitialize = false;                   ///< those that stay begin anew, at random

  // For some units only, see run/config_prune.cpp
  std::optional<double> ratio = {}, speedup = {}, macs = {}, parameters = {}, bytes = {}, latency_ms = {};
  std::optional<int64_t> batches = {};  ///< that criteria look at which look at data; absent: the criterion's
  std::string reduction = "mean";
  std::optional<int64_t> min_channels = {};
  double min_ratio = 0.0, max_ratio = 1.0;
  std::vector<LimitsConfig> overrides = {};
  int64_t round_to = 1;
  std::optional<int64_t> iterations = {};  ///< absent: the criterion's
  bool verify = false;
  int64_t reestimate_norm = 0;                                   ///< as in TrainConfig, after the cut
  std::vector<std::pair<std::string, double>> sparsity_of = {};  ///< of layers (nn/names.h): the last counts
  std::string of = "original";  ///< original, remaining: what sparsity is a share of
  bool hold = true;             ///< by masks; else only the schedule's last act does
  bool pad = false;             ///< n:m where m does not divide a layer's inputs
  std::optional<bool> remove_dead =
      {};  ///< true: channels go that masks have killed (prune/dead.h), in place of a target
};

/// Masks that move while a stage trains.
struct RegrowConfig {
  std::string type = "rigl";  ///< a row of regrowths() (prune/regrow.h), as whose the others are where absent
  double share = 0.3;         ///< of each layer's active weights that drops, at `begin`,
  double min_share = 0.0;     ///< and at `end`
  std::string anneal = "cosine";  ///< one of anneal_names()
  double momentum = 0.9;          ///< of a moving average of gradients
  std::string in = "steps";       ///< as of a PruneScheduleConfig
  double begin = 0;
  std::optional<double> end = {};    ///< absent: the method's share of the stage
  std::optional<double> every = {};  ///< a config that is read always has it; absent: the method's
  ExtraOptions extra = {};           ///< those that the row declares
};

/// A callback of a program's own: a row of callbacks() in train/callbacks.h.
struct CallbackConfig {
  std::string type;
  ExtraOptions extra = {};
};

struct EarlyStopConfig {
  int64_t patience = 5;    ///< evaluations without improvement
  double min_delta = 0.0;  ///< in points of validation accuracy
};

/// What is made small: in a config only the name, where it has no options of its own.
struct LossConfig {
  std::string type = "cross_entropy";  ///< a row of losses() (train/loss.h)
  ExtraOptions extra = {};
};

/// What layers of both networks put out, to be alike (feature_maps.h).
struct FeatureConfig {
  std::string student;                      ///< a layer of the network's (nn/names.h)
  std::optional<std::string> teacher = {};  ///< of the teacher's; absent: of the same name
  double weight = 1.0;
};

/// A teacher, and what a stage learns from it (distilled_loss.h).
struct DistillConfig {
  /// Exactly one: a file of a run's, or a program's, weights, or the name of an earlier stage of the run.
  std::optional<std::string> teacher = {}, teacher_stage = {};
  double temperature = 4.0;
  double weight = 0.9;  ///< of what the teacher says; the rest is the labels'
  std::vector<FeatureConfig> features = {};
};

struct TrainConfig {
  std::optional<int64_t> epochs, steps;  ///< exactly one
  OptimizerConfig optimizer;
  ScheduleOptions schedule;
  std::vector<std::string> freeze = {};  ///< layers that learn nothing (nn/names.h)
  LossConfig loss = {};
  double label_smoothing = 0.0;
  double ema = 0.0;        ///< decay of the moving average of weights; 0: none
  int64_t accumulate = 1;  ///< batches whose mean gradient makes a step
  std::optional<PruneConfig> prune = {};
  std::optional<RegrowConfig> regrow = {};        ///< masks that move
  std::optional<PenaltyOptions> regularize = {};  ///< a penalty
  std::optional<DistillConfig> distill = {};
  std::vector<CallbackConfig> callbacks = {};
  int64_t log_every = 100;  ///< steps
  int64_t eval_every = 1;   ///< epochs
  std::optional<EarlyStopConfig> early_stop;
  double checkpoint_every = 0.0;  ///< seconds, besides each epoch's end; 0: no more
  int64_t reestimate_norm = 0;    ///< batches that batch norms' statistics are taken from at the end; 0: none
};

}  // namespace espalier

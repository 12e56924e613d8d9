// The config: a model, a data set and a list of stages. What a person writes in JSON, as structs. Each field
// is declared once, in config.cpp, with its name, type, range and a line of help; its default is the one
// here. Parser, messages, `espalier help config` and configs/schema.json all come from that declaration.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "espalier/config/set_value.h"
#include "espalier/data/augment.h"
#include "espalier/nn/models/models.h"
#include "espalier/optim/optimizer.h"
#include "espalier/optim/schedule.h"

namespace espalier {

namespace schema {
struct Description;  // config/schema.h
}

class Mistakes;  // util/mistakes.h

/// `classes` are 0 where neither the config says them nor its data set's type, but the files that hold it:
/// see take_classes in build.h.
struct ModelConfig : ModelOptions {
  std::optional<std::string> weights;  ///< a safetensors file to start from
  std::optional<bool> hold_zeros;      ///< absent: where the file's masks do; see load_weights
  std::optional<std::vector<std::string>>
      skip;  ///< layers that are not read (prune/names.h), but start afresh
};

struct NormalizeConfig {
  std::vector<double> mean, std;  ///< a value per channel, on pixels in 0..1
};

struct DataConfig {
  std::string type;  ///< mnist, cifar10, cifar100, image_folder, synthetic
  std::optional<std::string> root, path;
  std::string labels = "fine";                      ///< fine, coarse
  bool remap = false;                               ///< labels that are present become 0..k-1
  bool skip_corrupt = false;                        ///< leaves out images that cannot be decoded
  std::string alpha = "drop";                       ///< drop, white: what becomes of transparency
  bool cache = true;                                ///< keeps decoded images for the next run
  int64_t train_images = 8000, test_images = 2000;  ///< of synthetic
  int64_t batch = 64;
  bool shuffle = true;
  bool drop_last = false;                    ///< an epoch ends where fewer than a batch are left
  std::vector<Augmentation> augment;         ///< of training batches alone
  std::optional<NormalizeConfig> normalize;  ///< absent: pixels in 0..1
  /// Share of the training set held out. Absent: none, or val/ of an image_folder validates; what is read has
  /// it for all other types.
  std::optional<double> validation = {};
};

struct OptimizerConfig : OptimizerOptions {
  /// Rates and weight decays of kinds of parameters (parameter_kinds in build.h) or layers (prune/names.h);
  /// of several entries that mean a parameter, the last counts.
  std::vector<std::pair<std::string, double>> lr_of = {}, decay = {};
  double clip_norm = 0.0;  ///< 0: no clipping of the gradient's norm
};

/// When a pruner that acts while training acts.
struct PruneScheduleConfig {
  std::string type = "one_shot";  ///< one_shot, linear, cubic
  std::string in = "steps";       ///< steps (from 0), epochs or share of the stage: what the others count
  double begin = 0;
  std::optional<double> end;           ///< absent: the stage's last step
  std::optional<double> every = {};    ///< a config that is read always has it; absent: 100
  std::optional<double> initial = {};  ///< sparsity at `begin`, of linear and cubic; absent: 0
};

/// Limits for layers, or for groups of channels that one of them makes.
struct LimitsConfig {
  std::vector<std::string> layers;
  std::optional<int64_t> min_channels;
  std::optional<double> min_ratio, max_ratio;  ///< absent, as the other: the stage's
};

struct PruneConfig {
  std::string unit = "weight";                     ///< a name of prune/unit.h
  std::optional<std::vector<int64_t>> block = {};  ///< rows and columns of unit block
  std::string criterion = "l1";                    ///< a row of prune/criterion.cpp
  std::string scope = "global";                    ///< layer, global, isomorphic
  std::optional<double> sparsity;                  ///< share of units that go, in 0..1
  std::optional<double> threshold;                 ///< what scores below this value goes
  std::optional<double> quantile;  ///< what scores below this quantile of all scores in the scope goes
  std::vector<std::string> include, exclude;    ///< names of layers (prune/names.h)
  std::optional<PruneScheduleConfig> schedule;  ///< inside `train` alone
  bool allow_empty = false;                     ///< a selection may leave nothing of a layer
  bool remove = false;  ///< after the stage: masks become plain zeros that later training may change
  std::optional<std::string> apply = {};       ///< zero, cut; absent: cut for channels, else zero
  std::optional<std::string> normalizer = {};  ///< absent: the criterion's

  // For some units only, see config_prune.cpp
  std::optional<double> ratio = {}, speedup = {}, macs = {}, parameters = {}, bytes = {}, latency_ms = {};
  std::optional<int64_t> batches = {};  ///< that criteria look at which look at data; absent: the criterion's
  std::string reduction = "mean";
  std::optional<int64_t> min_channels = {};
  double min_ratio = 0.0, max_ratio = 1.0;
  std::vector<LimitsConfig> overrides = {};
  int64_t round_to = 1;
  int64_t iterations = 1;
  bool verify = false;
  int64_t reestimate_norm = 0;  ///< as in TrainConfig, after the cut
};

/// A penalty while training, see prune/regularize.h.
struct RegularizeConfig {
  std::string type = "group_norm";
  double weight = 5e-4;
  double ratio = 0.5, growth = 1e-4, most = 1.0;
  int64_t every = 5;  ///< steps
  std::vector<std::string> include = {}, exclude = {};
};

struct EarlyStopConfig {
  int64_t patience = 5;    ///< evaluations without improvement
  double min_delta = 0.0;  ///< in points of validation accuracy
};

struct TrainConfig {
  std::optional<int64_t> epochs, steps;  ///< exactly one
  OptimizerConfig optimizer;
  ScheduleOptions schedule;
  std::vector<std::string> freeze = {};  ///< layers that learn nothing (prune/names.h)
  std::string loss = "cross_entropy";    ///< a row of train/loss.cpp
  double label_smoothing = 0.0;
  double ema = 0.0;        ///< decay of the moving average of weights; 0: none
  int64_t accumulate = 1;  ///< batches whose mean gradient makes a step
  std::optional<PruneConfig> prune = {};
  std::optional<RegularizeConfig> regularize = {};
  int64_t log_every = 100;  ///< steps
  int64_t eval_every = 1;   ///< epochs
  std::optional<EarlyStopConfig> early_stop;
  double checkpoint_every = 0.0;  ///< seconds, besides each epoch's end; 0: no more
  int64_t reestimate_norm = 0;    ///< batches that batch norms' statistics are taken from at the end; 0: none
};

struct EvaluateConfig {
  bool flip = false;            ///< logits are the mean of those of the image and of its mirror image
  int64_t reestimate_norm = 0;  ///< as in TrainConfig, before it measures
};

enum class StageKind { train, prune, evaluate };
const char* stage_kind_name(StageKind kind);

struct StageConfig {
  std::string name;
  std::optional<TrainConfig> train;  ///< exactly one of the three
  std::optional<PruneConfig> prune;
  std::optional<EvaluateConfig> evaluate;
  StageKind kind() const;
  /// What it prunes by, in one go or while it trains; null: it does not.
  const PruneConfig* pruning() const;
};

struct Config {
  std::string file;                        ///< it was read from, for messages; no field
  std::vector<std::string> notes;          ///< on what --set left out, to be said; no field
  std::vector<schema::SetValue> set = {};  ///< by --set; no field
  std::string name;                        ///< absent: the file's name
  int64_t seed = 0;
  std::optional<std::string> precision =
      {};  ///< f32, tf32, bf16; absent: the device's own (compute_device.h)
  ModelConfig model;
  DataConfig data;
  std::vector<StageConfig> stages;
};

/// Parses `text` (of `file`, for messages), applies `overrides` in their order (overrides.h:
/// "stages.dense.train.epochs=1") and checks every field and relation. All mistakes are told in one
/// UsageError (util/mistakes.h), each in a line: "configs/x.json: /stages/0/train/epochs: found -1, expected
/// a whole number of at least 1", with the nearest spelling of a name that is not known, and with line and
/// column for text that is no JSON. A "$schema" at the top is skipped.
Config parse_config(const std::string& text, const std::string& file,
                    const std::vector<std::string>& overrides = {});
/// The same for a file that a person wrote, with comments and trailing commas (config/plain_json.h); one
/// that cannot be read is a UsageError, too. Where its model has weights and no type, the fields that are
/// missing are those of the run that the weights are of; or, if the file does not say them any more, those
/// of begun(name, weights): a run of this config's that began with the same weights. Where it has weights and
/// no data.normalize, that is the begun run's, too, or else the weights' (weights_origin.h).
using BegunRun = std::function<std::optional<Config>(const std::string& name, const std::string& weights)>;
Config load_config(const std::string& file, const std::vector<std::string>& overrides = {},
                   const BegunRun& begun = {});
/// The same for whoever goes on with what is sound: `mistakes` has the rest, whose values are the defaults.
Config load_config(const std::string& file, const std::vector<std::string>& overrides, const BegunRun& begun,
                   Mistakes& mistakes);

/// The config.json of a run's folder, which says all itself, whatever its weights' file says by now.
Config load_run_config(const std::string& file);

/// A config's `data` alone, of a file that has no config: `given`, and `overrides` (of data.* alone), as
/// messages of parse_config have it; a type that neither gives is empty.
DataConfig data_config(const nlohmann::ordered_json& given, const std::string& file,
                       const std::vector<std::string>& overrides);

/// The config as resolved: every field that applies with its value, in the declared order; parse_config reads
/// it back to the same.
nlohmann::ordered_json config_json(const Config& config);

/// Every field with type, range, default and help, for `espalier help config` (schema_help.h).
const schema::Description& config_description();
/// configs/schema.json: JSON Schema (draft 2020-12) for editors.
nlohmann::ordered_json config_schema();

}  // namespace espalier

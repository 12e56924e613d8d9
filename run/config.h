// The config: a model, a data set and a list of stages. What a person writes in JSON, as structs. Each field
// is declared once, in config*.cpp, with its name, type, range and a line of help; its default is the one
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
#include "espalier/data/datasets.h"
#include "espalier/nn/models/models.h"
#include "espalier/train/train_config.h"

namespace espalier {

namespace schema {
struct Description;  // config/schema.h
}

class Mistakes;  // util/mistakes.h

/// `classes` are 0 where neither the config says them nor its data set's type, but the files that hold it:
/// see take_classes in build.h.
struct ModelConfig : ModelOptions {
  std::optional<std::string> weights;            ///< a safetensors file to start from
  std::optional<bool> hold_zeros;                ///< absent: where the file's masks do; see load_weights
  std::optional<std::vector<std::string>> skip;  ///< layers that are not read (nn/names.h), but start afresh
};

struct NormalizeConfig {
  std::vector<double> mean, std;  ///< a value per channel, on pixels in 0..1
};

struct DataConfig : DatasetOptions {
  int64_t batch = 64;
  bool shuffle = true;
  bool drop_last = false;                    ///< an epoch ends where fewer than a batch are left
  std::vector<Augmentation> augment;         ///< only of training batches
  std::optional<NormalizeConfig> normalize;  ///< absent: pixels in 0..1
  /// Share of the training set held out. Absent: none, or a split that the data set has itself
  /// (DatasetInfo::has_validation) validates; what is read has it for all other types.
  std::optional<double> validation = {};
};

struct EvaluateConfig {
  bool flip = false;            ///< logits are the mean of those of the image and of its mirror image
  int64_t reestimate_norm = 0;  ///< as in TrainConfig, before it measures
};

enum class StageKind { train, prune, evaluate };
const char* stage_kind_name(StageKind kind);

struct StageConfig {
  std::string name;  ///< of one in a round with the round's and the time's before it: "round2.pruned"
  std::optional<TrainConfig> train;  ///< exactly one of the three
  std::optional<PruneConfig> prune;
  std::optional<EvaluateConfig> evaluate;
  std::string pointer = {};  ///< where it stands in what was read: "/stages/1/stages/0"; no field
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

/// Where a stage stands, as a JSON pointer into what a person wrote, in which a round is one stage.
std::string stage_pointer(const Config& config, size_t stage);

/// Parses `text` (of `file`, for messages), applies `overrides` in their order (config/overrides.h:
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
/// `where`: the overrides stand, for messages.
Config load_config(const std::string& file, const std::vector<std::string>& overrides, const BegunRun& begun,
                   Mistakes& mistakes, const std::string& where = schema::the_command_line);

/// The config that a run has saved: parse_config's, but that fields may have the names they had in versions
/// before.
Config parse_saved_config(const std::string& text, const std::string& file);
/// The config.json of a run's folder, which says all itself, whatever its weights' file says by now.
Config load_run_config(const std::string& file);

/// Only a config's `data`, of a file that has no config: `given`, and `overrides` (only of data.*), as
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

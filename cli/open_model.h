// What commands that take CONFIG|CHECKPOINT open.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "espalier/nn/module.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/config.h"

namespace espalier::cli {

/// Help on such an argument.
inline constexpr const char* config_or_checkpoint =
    "A config (.json, or a recipe's name), or a checkpoint or model of a run, or an ONNX file";

/// The file that `given` means, a path or a recipe's name (run/recipes.h); which one it is is said where it
/// is another, unless `quiet`.
std::string config_named(const std::string& given, bool quiet = false);

/// Of a file that a person has named (run/checkpoint.h): UsageError if there is none.
OpenedCheckpoint open_named_checkpoint(const std::string& given,
                                       const std::vector<std::string>& overrides = {});

/// Has a card compute in the precision that a run's config says (core/compute_device.h); the CPU has
/// only one.
void compute_as_trained(const Config& config);

/// The model of a config, initialised, or of a checkpoint; `config` becomes the one it is of. `root`: --data,
/// where the data set is that the config may leave the number of classes to.
std::unique_ptr<Module> open_model(const std::string& file, Config& config,
                                   const std::optional<std::string>& root);

}  // namespace espalier::cli

// A run: the config's stages in order, into a folder.
#pragma once

#include <optional>
#include <string>

#include "espalier/run/config.h"
#include "espalier/run/console.h"
#include "espalier/run/result.h"

namespace espalier {

struct RunOptions {
  /// The folder; absent: runs/NAME, or runs/NAME-2, ... if that holds a run; to resume, see choose_run
  /// (run_choice.h).
  std::optional<std::string> output;
  std::optional<std::string> data;  ///< the data root; absent: see data_root (build.h)
  bool autotune = false;            ///< time kernels on new shapes and keep the choices in the folder
  bool resume = false;              ///< go on from the folder's checkpoint, or start afresh if it has none
  std::string again = {};           ///< options that go with --resume FOLDER then: " --data ROOT"
};

/// The config of the run called `name`, begun with `weights`, with which --resume goes on, as its checkpoint
/// says it: for load_config, whose config may leave to its weights, which may be gone by now, what network it
/// is and how pixels are normalised. Nothing where there is none.
std::optional<Config> begun_run(const RunOptions& options, const std::string& name,
                                const std::string& weights);

/// Trains, prunes and evaluates as the config says; ends with the table of stages on the console and
/// result.json in the folder. Everything that can be wrong with config, data, model and folder is found
/// before the first step. UsageError if the folder of `output` holds a run and `resume` is off, or a run of
/// another config and it is on; stages may be longer or shorter than they were, as far as lengths.h
/// allows it. Interrupted if a signal came: then the checkpoint is written, and the console has
/// said how to go on.
RunResult run(const Config& config, const RunOptions& options, Console& console);

}  // namespace espalier

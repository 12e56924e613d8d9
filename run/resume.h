// What a run finds in its folder, and how it goes on from there.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "espalier/run/checkpoint.h"
#include "espalier/run/console.h"
#include "espalier/run/run_folder.h"

namespace espalier {

/// UsageError unless a run of `config` may begin in the folder, or with `resume` go on there: it is
/// empty, or was left by this one.
void check_free(const RunFolder& folder, const Config& config, bool resume);

/// Where the configs differ first, as --set calls it ("stages.dense.train.ema"); empty: in nothing that
/// decides what comes of a run (as where its data lie and how often it saves do not), apart, with
/// `any_length`, from how long stages train.
std::string first_difference(const Config& theirs, const Config& ours, bool any_length);

/// UsageError unless `theirs`, the config of the folder's run, is `ours`, apart from how long stages train.
void check_same(const RunFolder& folder, const Config& theirs, const Config& ours);

/// What a run goes on from: the checkpoint, or the folder's last_step.safetensors.
struct SavedRun {
  std::filesystem::path file;
  CheckpointInfo info;  ///< which has a position
};
/// Where the folder's run, which has a checkpoint, goes on as a run of `config`. UsageError if it is of
/// another config, or a stage is to be longer that cannot be.
SavedRun saved_run(const RunFolder& folder, const Config& config);

/// Error unless the data at `place` have as many images as they had when the position in the checkpoint
/// `file` was written, or nothing is left to do: the batches of an epoch would be others.
void check_data(const RunPosition& position, const Config& config, const ImageCounts& found,
                const std::string& place, const std::string& file);

/// Error unless the position in the checkpoint `file` lies within a run of `config`, whose epochs have so
/// many `batches`.
void check_position(const RunPosition& position, const Config& config, int64_t batches,
                    const std::string& file);

/// What is to be said where the position in the checkpoint `file` is of another device than this process
/// computes on; empty: nothing. UsageError where it is of the same, but was computed in another precision:
/// such a run is neither of the two.
std::string check_device(const RunPosition& position, const std::string& file);

/// Puts kernels.json, if --autotune has left one, in force. A kernel that there is none of is named, and not
/// used.
void restore_kernels(const RunFolder& folder, Console& console);

/// Sees to the models of a run that goes on at `position`: of those of stages that are done, the last is
/// written again from `model`, the checkpoint's, where it is missing, unless a step has been made since;
/// others that are missing are named. Without its best model, the stage that runs looks for the best of the
/// epochs that follow.
void restore_models(const RunFolder& folder, const Config& config, RunPosition& position,
                    const std::vector<std::string>& classes, Module& model, Console& console);

/// Error where a stage that is still to come goes back (`rewind`) to a stage that is done and whose model is
/// missing.
void check_rewinds(const RunFolder& folder, const Config& config, const RunPosition& position);

}  // namespace espalier

// What is to be done for a sweep: its runs, each in its folder, and how far each of them is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "espalier/data/datasets.h"
#include "espalier/run/sweep.h"
#include "espalier/util/file_descriptor.h"

namespace espalier {

/// A run of a sweep.
struct PlannedRun {
  enum class State { fresh, begun, done };

  std::string point = {};
  int64_t seed = 0;
  std::filesystem::path folder = {};
  std::string config = {};                  ///< the file
  std::vector<std::string> overrides = {};  ///< what --set is given
  State state = State::fresh;

  /// "rigl, seed 1"
  std::string label() const;
};

/// All runs, those of the first seed first, which go to `folder`/POINT/seedN. Each config is read and
/// checked, of the first run of a point that is to begin as check_parts does it: what is wrong is told at
/// once, a line each with the points that it is of (UsageError, or Error if only data or other files are to
/// blame). UsageError if a folder holds a run of another config than the sweep says now, as first_difference
/// compares them, or something else than a run. `root`: --data.
std::vector<PlannedRun> plan_sweep(const Sweep& sweep, const std::filesystem::path& folder,
                                   const std::optional<std::string>& root);

/// Makes the folder of a sweep and keeps all other sweeps out of it while what is returned lives. UsageError
/// if one is in already, or the folder cannot be made.
FileDescriptor take_sweep_folder(const std::filesystem::path& folder);

/// Waits while other processes are in the folders of these runs: those of a sweep that was killed may save
/// what they have. `say` is told of the first. UsageError if that takes longer than `seconds`.
void await_folders(const std::vector<PlannedRun>& runs, double seconds, const Say& say);

}  // namespace espalier

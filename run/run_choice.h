// Which folder a run is written to where nobody says it: runs/NAME, runs/NAME-2, ...
#pragma once

#include <filesystem>
#include <string>

#include "espalier/run/config.h"
#include "espalier/run/run_folder.h"

namespace espalier {

/// Which of the runs called as the config --resume goes on with where no folder is said: of those of this
/// config the last that is not done; else the last; else, if only the lengths of stages differ, of those the
/// same. runs/NAME if there is none.
struct ChosenRun {
  std::filesystem::path folder;
  std::string why = {};  ///< a line; empty where there was no choice
};
ChosenRun choose_run(const Config& config);

/// The first of the folders for a run called `name` that holds none: made, and locked before any other
/// process.
struct TakenFolder {
  RunFolder folder;
  std::string why;  ///< a line; empty for runs/NAME
};
TakenFolder take_next_folder(const std::string& name);

}  // namespace espalier

#include "espalier/run/run_choice.h"

#include <compare>
#include <optional>

#include "espalier/run/resume.h"
#include "espalier/util/shell_word.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

/// "runs/a", "runs/a and runs/a-2", "5 runs from runs/a to runs/a-7"
std::string names_of(const std::vector<RunFolder>& runs) {
  const std::string first = runs.front().path().string(), last = runs.back().path().string();
  return runs.size() == 1   ? first
         : runs.size() == 2 ? first + " and " + last
                            : join(runs.size(), " runs from ", first, " to ", last);
}

/// How well a run fits: one of the same config, one that is not done, one that was written to later.
struct Fit {
  bool same, open;
  fs::file_time_type written;
  auto operator<=>(const Fit&) const = default;
};

/// Nothing for a run of another config.
std::optional<Fit> fit_of(const RunFolder& run, const Config& config) {
  try {
    const Config theirs = load_run_config(run.config().string());
    if (!first_difference(theirs, config, true).empty()) return std::nullopt;
    std::error_code none;
    return Fit{.same = first_difference(theirs, config, false).empty(),
               .open = !fs::exists(run.result(), none),
               .written = fs::last_write_time(run.has_checkpoint() ? run.checkpoint() : run.config(), none)};
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

ChosenRun choose_run(const Config& config) {
  const std::vector<RunFolder> runs = runs_called(config.name);
  ChosenRun chosen{.folder = run_path(config.name)};
  std::optional<Fit> best;
  int64_t fitting = 0;
  for (const RunFolder& run : runs) {
    const auto fit = fit_of(run, config);
    if (!fit) continue;
    ++fitting;
    if (best && *fit < *best) continue;
    best = fit;
    chosen.folder = run.path();
  }
  if (!best || runs.size() == 1) return chosen;
  chosen.why = join(chosen.folder.string(), ": of ", names_of(runs), " ",
                    fitting == 1 ? "the one that this config fits"
                    : best->open ? "the last of this config that is not done"
                                 : "the last of this config, and all are done",
                    "; `espalier train --resume FOLDER` chooses another");
  return chosen;
}

TakenFolder take_next_folder(const std::string& name) {
  std::vector<RunFolder> before;
  for (int64_t number = 1;; ++number) {
    RunFolder folder(run_path(name, number));
    if (!folder.holds_run()) {
      folder.create();
      // Another process may have come, or come and gone.
      if (folder.try_lock() && !folder.holds_run()) {
        if (before.empty()) return {std::move(folder), ""};
        std::string why = join(folder.path().string(), ": this run's folder, for ", names_of(before),
                               before.size() == 1 ? " holds a run already" : " hold runs already");
        if (const RunFolder& last = before.back(); last.is_in_use())
          why += "; another process is running in " + last.path().string();
        else if (!fs::exists(last.result()))
          why += "; `espalier train --resume " + shell_word(last.path().string()) +
                 "` goes on with what is not done there";
        return {std::move(folder), why};
      }
    }
    before.push_back(std::move(folder));
  }
}

}  // namespace espalier

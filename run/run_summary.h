// What the folder of a run says of it, whether it has come to its end or not: its config, and how it stood
// after each stage, and after the last epoch of one that is not done.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace espalier {

/// After a stage, or in one.
struct StageSummary {
  std::string stage;
  std::optional<int64_t> epoch;     ///< the last that is done (from 1), of a stage that is not
  nlohmann::ordered_json measured;  ///< as in result.json, as far as it is known
};

struct RunSummary {
  std::string folder;             ///< as it was given
  bool done = false;              ///< it has a result.json
  nlohmann::ordered_json config;  ///< with all fields; null where nothing in the folder says it
  std::vector<StageSummary> stages;
  nlohmann::ordered_json made_by = {};  ///< of one that is done: threads, version, commit
  bool diverged = false;                ///< what ended it was a loss or a weight that is not finite

  std::string state() const { return done ? "done" : diverged ? "diverged" : "unfinished"; }
};

/// UsageError if there is no such folder, or it is not that of a run; Error if a file in it is damaged.
RunSummary summary_of(const std::string& folder);

}  // namespace espalier

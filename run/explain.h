// Explain: what one pruner of a config would do to a model, in numbers. It is the pruner of a run at work,
// score, select, apply; only that nobody keeps the model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "espalier/prune/collapse.h"
#include "espalier/prune/explain.h"
#include "espalier/prune/pruner.h"
#include "espalier/run/config.h"

namespace espalier {

/// The place of the stage called `name`, or of the first that prunes, at once or while it trains. UsageError
/// where there is none, or it does not prune.
size_t stage_that_prunes(const Config& config, const std::optional<std::string>& name);

/// Whether its criterion looks at training images.
bool looks_at_data(const PruneConfig& prune);

struct Explanation {
  PruneOptions options;  ///< what the config asks for
  PruneResult result;    ///< with scores
  std::vector<LeftOut> left_out;
  std::vector<DeadUnits> dead;  ///< of all masks that there are by now
  /// Lines on what was hardly meant: layers of which next to nothing is left, a target that is met already.
  std::vector<std::string> warnings;
  /// Of a stage that prunes while it trains; the step is absent for the end of its schedule.
  std::optional<Schedule> schedule = {};
  std::optional<int64_t> step = {};
};

/// Has the pruner of config.stages[stage] act on `model`, in the end of its schedule if it has one, or at
/// `step` of it. `train` are the training images; looked at by criteria that look at data, and counted for a
/// step. UsageError for a step of a stage that prunes at once, and for one at which the schedule does not
/// act; errors are those of the run, with the config's file and the stage before them.
Explanation explain_stage(const Config& config, size_t stage, Module& model, const Dataset& train,
                          std::optional<int64_t> step = {});

/// "sparsity 0.9", "2 of each 4 stay", and how far a schedule has come: "sparsity 0.63 of 0.9".
std::string target_text(const Explanation& explanation);

}  // namespace espalier

// Plan: what a run would cost, found out without one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "espalier/data/dataset.h"
#include "espalier/prune/schedule.h"
#include "espalier/run/config.h"
#include "espalier/run/memory.h"

namespace espalier {

struct StagePlan {
  std::string name;
  int64_t steps = 0;                     ///< 0 unless it trains
  double images_per_second = 0;          ///< of training
  double seconds = 0;                    ///< with the evaluations
  int64_t macs = 0;                      ///< of an image, as the stage leaves the model
  std::optional<Schedule> pruning = {};  ///< of a train stage that prunes
  int64_t climb_steps = 0;               ///< of the learning rate, first
  int64_t teacher_macs = 0;              ///< of a train stage that has a teacher, of an image,
  double teacher_share = 0;              ///< and the share of a step's time that it takes
  /// Why its cut could not be planned, or is hardly what was asked for.
  std::vector<std::string> warnings = {};
};

struct Plan {
  MemoryPlan memory;
  std::vector<StagePlan> stages;
};

/// Of a config whose stages have been checked (check_stages). Times a few steps of each train stage, and an
/// evaluation, on models of its own: some tenths of a second a stage. Channels are cut as a run would, which
/// takes as long, but from fresh weights, so that what follows is timed at about its size; a stage that cuts
/// while it trains is timed at the size before. Errors are those of a run up to its first cut; where a later
/// one fails, a run may come to it with other shapes: a warning.
Plan make_plan(const Config& config, const DataSplits& data);

}  // namespace espalier

// Position: how far a stage's training has come, and what it has to remember.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace espalier {

/// All random numbers are functions of the seed and of this (core/random.h), so it is the random state too.
struct Position {
  int64_t stage = 0;  ///< that runs, from 0; the number of stages when the run is done
  int64_t epoch = 0;  ///< of the stage, from 0
  int64_t batch = 0;  ///< of the epoch: steps done, of TrainConfig::accumulate batches each
  int64_t step = 0;   ///< of the stage: steps done
  std::optional<int64_t> steps_before = {};  ///< of earlier stages; absent: of a version that did not say
  int64_t optimizer_steps = 0;
  double train_seconds = 0;    ///< of the stage, spent on steps and on waiting for their data
  int64_t trained_images = 0;  ///< in that time

  double loss_sum = 0;  ///< of this epoch's training: sum over images of the loss,
  int64_t images = 0;   ///< images seen,
  int64_t correct = 0;  ///< and how many were right

  /// What the stage's callbacks have to remember, by their names (Callback::state).
  std::map<std::string, nlohmann::ordered_json> callbacks = {};
};

}  // namespace espalier

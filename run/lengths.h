// How long stages train, and what that may be changed to once they have begun.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "espalier/run/checkpoint.h"
#include "espalier/run/run_folder.h"

namespace espalier {

bool same_length(const TrainConfig& a, const TrainConfig& b);
/// Of a stage that trains: "1 epoch", "5 epochs", "40 steps".
std::string length_of(const StageConfig& stage);

/// The same of each stage; "" of one that does not train.
std::vector<std::string> lengths_of(const Config& config);

/// `config`, by which the folder's run goes on. A stage that is to train there for as long as it was when the
/// run began, by no --set of now, trains for as long as the run has been told since; a note says so.
Config with_lengths_of_run(Config config, const RunFolder& folder);

/// The last stage that trains, if nothing follows but stages that evaluate: it may go on once it is done.
std::optional<int64_t> last_training(const Config& config);

/// Says which stages are longer or shorter in `config` than they were when the folder's run, which has a
/// position, was saved. UsageError if that would have changed what it has done since: a stage that is done,
/// the rates or the pruning of steps that have been made; or if more steps have been made than there are to
/// be. An epoch has so many `batches`.
std::vector<std::string> check_lengths(const RunFolder& folder, const CheckpointInfo& saved,
                                       const Config& config, int64_t batches);

}  // namespace espalier

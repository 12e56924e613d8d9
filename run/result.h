// result.json: what a run came to, one entry a stage; and the table of it that a person sees at the end.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "espalier/util/terminal.h"

namespace espalier {

/// The epoch of a train stage that did best on the validation set, and what its weights do on the test set.
struct BestResult {
  int64_t epoch = 0;  ///< from 1
  double validation_accuracy = 0, accuracy = 0, top5 = 0, loss = 0;
  int64_t nonzeros = 0;
  double sparsity = 0;  ///< it had while it was pruned, which may be less than the stage's last
};

/// The network that a train stage learned from (run/distill.h).
struct TeacherResult {
  std::string name = {};  ///< what the config calls it: a file, or a stage
  double accuracy = 0;    ///< per cent of the test set
  int64_t macs = 0;       ///< of one image
  double time_share = 0;  ///< what its passes took of the time of training, waiting for data included
};

/// Measured after the stage, on the test set.
struct StageResult {
  std::string name, kind;
  double seconds = 0;
  double images_per_second = 0;   ///< trained; 0 for other stages
  double accuracy = 0, top5 = 0;  ///< per cent
  double loss = 0;
  int64_t parameters = 0, nonzeros = 0;
  double sparsity = 0;       ///< share of zeros among the weights of convolutions and linear layers
  int64_t macs = 0;          ///< of one image
  int64_t bytes = 0;         ///< of its models/ file
  int64_t packed_bytes = 0;  ///< of that, packed (formats/packed.h); 0: was not measured
  double latency_ms = 0;     ///< batch 1, undisturbed (core/measure.h)
  /// Of the network that the run began with, over this one's, measured in turns: the milliseconds of two
  /// stages are of two moments. A stage that cuts nothing has that of the stage before; what stages cut one
  /// after the other multiplies. Absent: of a version that did not measure it.
  std::optional<double> latency_speedup = {};
  std::optional<BestResult> best;
  std::optional<TeacherResult> teacher = {};
};

struct RunResult {
  std::string name;
  int64_t seed = 0;
  std::string device = "cpu", precision = "f32";
  std::string card = {};          ///< with its driver and libraries; empty on the CPU
  int64_t peak_device_bytes = 0;  ///< of a card's memory
  int64_t threads = 0;
  std::string version, commit;
  std::vector<StageResult> stages;
};

nlohmann::ordered_json to_json(const StageResult& stage);
nlohmann::ordered_json to_json(const RunResult& run);
/// Error, naming `source`, if a field is missing or of another type.
StageResult stage_from_json(const nlohmann::ordered_json& json, const std::string& source);
RunResult run_from_json(const nlohmann::ordered_json& json, const std::string& source);

/// The stages as rows: accuracy, top-5 where `classes` let it say something, loss, parameters, non-zeros,
/// sparsity, MACs, bytes, latency and, where channels were cut, the speed-up.
std::string result_table(const RunResult& run, int64_t classes, size_t width = any_width);

}  // namespace espalier

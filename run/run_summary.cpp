#include "espalier/run/run_summary.h"

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "espalier/config/json.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/config.h"
#include "espalier/run/result.h"
#include "espalier/run/run_folder.h"
#include "espalier/util/error.h"
#include "espalier/util/input_file.h"

namespace espalier {

using Json = nlohmann::ordered_json;

namespace {

/// What a run's log says as its last where its numbers ceased to be ones (train/trainer.cpp,
/// train/callbacks.cpp, run.cpp).
constexpr const char* not_finite_messages[] = {": the loss is nan at step ",
                                               ": the loss is infinite at step ", " is not finite after "};

StageSummary summary_of(const StageResult& result) {
  Json measured = to_json(result);
  if (result.best) {
    measured["best_epoch"] = result.best->epoch;
    measured["best_accuracy"] = result.best->accuracy;
  }
  for (const char* said : {"name", "kind", "best"}) measured.erase(said);
  if (result.images_per_second == 0) measured.erase("images_per_second");  // of a stage that does not train
  return {result.name, std::nullopt, std::move(measured)};
}

/// The last row of an epoch that was evaluated. A half-written row at the end is no row yet.
std::optional<StageSummary> last_epoch(const std::filesystem::path& metrics) {
  if (!std::filesystem::exists(metrics)) return std::nullopt;
  const std::string text = read_file(metrics);
  std::string_view rows(text);
  rows = rows.substr(0, rows.rfind('\n') + 1);
  while (!rows.empty()) {
    rows.remove_suffix(1);  // the line's end
    const size_t begin = rows.rfind('\n') + 1;
    const std::string_view line = rows.substr(begin);
    rows = rows.substr(0, begin);
    if (line.find("\"accuracy\"") == line.npos) continue;
    const std::string place = metrics.string();
    const Json row = parse_json(line, place);
    if (!row.is_object() || !row.contains("accuracy")) continue;
    if (json_count(row, "epoch", place) == 0) continue;  // of a stage that does not train
    StageSummary found{json_field<std::string>(row, "stage", place), json_count(row, "epoch", place), {}};
    for (const auto& [field, name] :
         std::initializer_list<std::pair<const char*, const char*>>{{"accuracy", "accuracy"},
                                                                    {"top5", "top5"},
                                                                    {"test_loss", "loss"},
                                                                    {"sparsity", "sparsity"},
                                                                    {"macs", "macs"}})
      if (row.contains(field)) {
        json_field<double>(row, field, place);  // is a number
        found.measured[name] = row[field];
      }
    return found;
  }
  return std::nullopt;
}

/// Whether the last line that the run has logged says so: what it has said since, it went on with.
bool ended_by_divergence(const std::filesystem::path& log) {
  if (!std::filesystem::exists(log)) return false;
  const std::string text = read_file(log);
  const std::string_view lines = std::string_view(text).substr(0, text.find_last_not_of('\n') + 1);
  const std::string_view last = lines.substr(lines.rfind('\n') + 1);
  return std::ranges::any_of(not_finite_messages,
                             [&](const char* said) { return last.find(said) != last.npos; });
}

/// The stages that a checkpoint counts as done, and the one that the metrics are in.
void summarize_unfinished(const RunFolder& folder, RunSummary& run) {
  std::vector<StageResult> results;
  if (folder.has_checkpoint()) {
    const CheckpointInfo saved = read_checkpoint_info(folder.checkpoint());
    if (run.config.is_null()) run.config = config_json(saved.config);
    if (saved.position) results = saved.position->results;
  }
  for (const StageResult& result : results) run.stages.push_back(summary_of(result));
  const auto epoch = last_epoch(folder.metrics());
  if (epoch && std::ranges::find(results, epoch->stage, &StageResult::name) == results.end())
    run.stages.push_back(*epoch);
}

}  // namespace

RunSummary summary_of(const std::string& path) {
  const RunFolder folder(path);
  if (!std::filesystem::exists(path)) fail_usage(path, ": there is no such folder");
  if (!folder.holds_run()) fail_usage(path, ": is not the folder of a run");
  RunSummary run{.folder = path, .config = {}, .stages = {}};
  if (std::filesystem::exists(folder.config())) {
    run.config = config_json(load_run_config(folder.config().string()));
  }
  run.done = std::filesystem::exists(folder.result());
  if (!run.done) {
    summarize_unfinished(folder, run);
    run.diverged = ended_by_divergence(folder.log());
    return run;
  }
  const std::string file = folder.result().string();
  const RunResult result = run_from_json(parse_json(read_file(file), file), file);
  if (run.config.is_null()) run.config = {{"name", result.name}, {"seed", result.seed}};
  run.made_by = {{"threads", result.threads}, {"version", result.version}, {"commit", result.commit}};
  for (const StageResult& stage : result.stages) run.stages.push_back(summary_of(stage));
  return run;
}

}  // namespace espalier

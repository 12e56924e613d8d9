#include "espalier/run/result.h"

#include <fmt/format.h>

#include <algorithm>

#include "espalier/config/json.h"
#include "espalier/train/evaluate.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier {

using Json = nlohmann::ordered_json;

Json to_json(const StageResult& s) {
  Json json{{"name", s.name},
            {"kind", s.kind},
            {"seconds", s.seconds},
            {"images_per_second", s.images_per_second},
            {"accuracy", s.accuracy},
            {"top5", s.top5},
            {"loss", s.loss},
            {"parameters", s.parameters},
            {"nonzeros", s.nonzeros},
            {"sparsity", s.sparsity},
            {"macs", s.macs},
            {"bytes", s.bytes},
            {"latency_ms", s.latency_ms}};
  if (s.packed_bytes > 0) json["packed_bytes"] = s.packed_bytes;
  if (s.latency_speedup) json["latency_speedup"] = *s.latency_speedup;
  if (s.best)
    json["best"] = {{"epoch", s.best->epoch},       {"validation_accuracy", s.best->validation_accuracy},
                    {"accuracy", s.best->accuracy}, {"top5", s.best->top5},
                    {"loss", s.best->loss},         {"nonzeros", s.best->nonzeros},
                    {"sparsity", s.best->sparsity}};
  if (s.teacher)
    json["teacher"] = {{"name", s.teacher->name},
                       {"accuracy", s.teacher->accuracy},
                       {"macs", s.teacher->macs},
                       {"time_share", s.teacher->time_share}};
  return json;
}

Json to_json(const RunResult& run) {
  Json stages = Json::array();
  for (const StageResult& stage : run.stages) stages.push_back(to_json(stage));
  Json json{{"name", run.name}, {"seed", run.seed}, {"device", run.device}, {"precision", run.precision}};
  if (!run.card.empty()) {
    json["card"] = run.card;
    json["peak_device_bytes"] = run.peak_device_bytes;
  }
  json["threads"] = run.threads;
  json["version"] = run.version;
  json["commit"] = run.commit;
  json["stages"] = std::move(stages);
  return json;
}

StageResult stage_from_json(const Json& json, const std::string& place) {
  StageResult s;
  const auto read = [&]<class T>(const Json& from, const std::string& at, const char* name, T& field) {
    if constexpr (std::is_same_v<T, int64_t>)
      field = json_count(from, name, at);
    else
      field = json_field<T>(from, name, at);
  };
  read(json, place, "name", s.name);
  read(json, place, "kind", s.kind);
  read(json, place, "seconds", s.seconds);
  read(json, place, "images_per_second", s.images_per_second);
  read(json, place, "accuracy", s.accuracy);
  read(json, place, "top5", s.top5);
  read(json, place, "loss", s.loss);
  read(json, place, "parameters", s.parameters);
  read(json, place, "nonzeros", s.nonzeros);
  read(json, place, "sparsity", s.sparsity);
  read(json, place, "macs", s.macs);
  read(json, place, "bytes", s.bytes);
  if (json.contains("packed_bytes")) read(json, place, "packed_bytes", s.packed_bytes);
  read(json, place, "latency_ms", s.latency_ms);
  if (json.contains("latency_speedup")) read(json, place, "latency_speedup", s.latency_speedup.emplace());
  if (json.contains("best")) {
    const auto best = json_field<Json>(json, "best", place);
    const std::string inside = json_place(place, "best");
    s.best.emplace();
    read(best, inside, "epoch", s.best->epoch);
    read(best, inside, "validation_accuracy", s.best->validation_accuracy);
    read(best, inside, "accuracy", s.best->accuracy);
    read(best, inside, "top5", s.best->top5);
    read(best, inside, "loss", s.best->loss);
    read(best, inside, "nonzeros", s.best->nonzeros);
    read(best, inside, "sparsity", s.best->sparsity);
  }
  if (json.contains("teacher")) {
    const auto teacher = json_field<Json>(json, "teacher", place);
    const std::string inside = json_place(place, "teacher");
    s.teacher.emplace();
    read(teacher, inside, "name", s.teacher->name);
    read(teacher, inside, "accuracy", s.teacher->accuracy);
    read(teacher, inside, "macs", s.teacher->macs);
    read(teacher, inside, "time_share", s.teacher->time_share);
  }
  return s;
}

RunResult run_from_json(const Json& json, const std::string& source) {
  const std::string place = source + ": not a run's result";
  RunResult run{
      .name = json_field<std::string>(json, "name", place),
      .seed = json_field<int64_t>(json, "seed", place),
      .device = json_field<std::string>(json, "device", place),
      .precision = json.contains("precision") ? json_field<std::string>(json, "precision", place) : "f32",
      .card = json.contains("card") ? json_field<std::string>(json, "card", place) : "",
      .peak_device_bytes = json.contains("card") ? json_field<int64_t>(json, "peak_device_bytes", place) : 0,
      .threads = json_field<int>(json, "threads", place),
      .version = json_field<std::string>(json, "version", place),
      .commit = json_field<std::string>(json, "commit", place),
      .stages = {}};
  const auto stages = json_field<std::vector<Json>>(json, "stages", place);
  for (size_t i = 0; i < stages.size(); ++i)
    run.stages.push_back(
        stage_from_json(stages[i], json_place(json_place(place, "stages"), std::to_string(i))));
  return run;
}

namespace {

enum ResultColumn : size_t {
  stage_column,
  accuracy,
  top_five,
  loss,
  parameters,
  nonzeros,
  sparsity,
  macs,
  size,
  packed,
  latency,
  speedup,
  images_per_second,
  seconds
};

/// The columns, what one prunes for first; what is the same after all stages, and non-zeros that are but the
/// parameters, are worth their room least. Times never are the same.
std::vector<size_t> by_worth(const std::vector<std::vector<std::string>>& rows) {
  const auto is_constant = [&](size_t c) {
    return rows.size() > 1 && std::ranges::all_of(rows, [&](const auto& row) {
             return c >= row.size() || row[c].empty() || row[c] == rows[0][c];
           });
  };
  const bool none_pruned = std::ranges::all_of(
      rows, [](const auto& row) { return row[parameters].empty() || row[nonzeros] == row[parameters]; });
  std::vector<size_t> columns{accuracy, macs, latency,           size,       sparsity, speedup, packed,
                              seconds,  loss, images_per_second, parameters, top_five, nonzeros};
  std::stable_partition(columns.begin(), columns.end(), [&](size_t c) {
    switch (c) {
      case macs:
      case size:
      case parameters:
        return !is_constant(c);
      case sparsity:
        return !is_constant(c) && !none_pruned;
      case nonzeros:
        return !none_pruned;
      default:
        return true;
    }
  });
  return columns;
}

}  // namespace

std::string result_table(const RunResult& run, int64_t classes, size_t width) {
  Table table({"<stage", "accuracy", "top-5", "loss", "parameters", "non-zeros", "sparsity", "MACs", "size",
               "packed", "latency", "speed-up", "images/s", "time"});
  std::vector<std::vector<std::string>> rows;
  const bool faster = std::ranges::any_of(
      run.stages, [](const StageResult& s) { return s.latency_speedup.value_or(1) != 1; });
  constexpr size_t most_name = 100;
  const auto packs = [](const StageResult& s) {  // else it tells nothing
    return s.packed_bytes > 0 && static_cast<double>(s.packed_bytes) < 0.97 * static_cast<double>(s.bytes);
  };
  const auto top5 = [&](double share) { return tells_top5(classes) ? fmt::format("{:.2f} %", share) : ""; };
  for (const StageResult& s : run.stages) {
    const std::string stage = printable(s.name, most_name);
    rows.push_back(
        {stage, fmt::format("{:.2f} %", s.accuracy), top5(s.top5), fmt::format("{:.4f}", s.loss),
         grouped(s.parameters), grouped(s.nonzeros), fmt::format("{:.2f} %", 100 * s.sparsity),
         grouped(s.macs), bytes_text(s.bytes), packs(s) ? bytes_text(s.packed_bytes) : "",
         fmt::format("{:.3g} ms", s.latency_ms),
         faster && s.latency_speedup ? fmt::format("{:.2f}x", *s.latency_speedup) : "",
         s.images_per_second > 0 ? grouped(static_cast<int64_t>(std::min(s.images_per_second, 1e15))) : "",
         duration_text(s.seconds)});
    if (s.best)
      rows.push_back({fmt::format("{}, best (epoch {})", stage, s.best->epoch),
                      fmt::format("{:.2f} %", s.best->accuracy), top5(s.best->top5),
                      fmt::format("{:.4f}", s.best->loss), "", grouped(s.best->nonzeros),
                      fmt::format("{:.2f} %", 100 * s.best->sparsity)});
  }
  if (!rows.empty()) table.keep(by_worth(rows));
  for (auto& row : rows) table.add(std::move(row));
  const std::string note =
      "speed-up: of the latency, against the network that the run began with, measured in turns; the "
      "latencies themselves are of different moments";
  return table.str(width) + (faster ? wrapped(note, width) : "");
}

}  // namespace espalier

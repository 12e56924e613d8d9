#include "espalier/train/result.h"

#include <fmt/format.h>

#include "espalier/core/error.h"
#include "espalier/core/table.h"

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
  if (s.best)
    json["best"] = {{"epoch", s.best->epoch},
                    {"validation_accuracy", s.best->validation_accuracy},
                    {"accuracy", s.best->accuracy},
                    {"top5", s.best->top5},
                    {"loss", s.best->loss},
                    {"nonzeros", s.best->nonzeros},
                    {"sparsity", s.best->sparsity}};
  return json;
}

Json to_json(const RunResult& run) {
  Json stages = Json::array();
  for (const StageResult& stage : run.stages) stages.push_back(to_json(stage));
  return {{"name", run.name},       {"seed", run.seed},     {"device", run.device}, {"threads", run.threads},
          {"version", run.version}, {"commit", run.commit}, {"stages", stages}};
}

StageResult stage_from_json(const Json& json, const std::string& source) {
  try {
    StageResult s{.name = json.at("name"),
                  .kind = json.at("kind"),
                  .seconds = json.at("seconds"),
                  .images_per_second = json.at("images_per_second"),
                  .accuracy = json.at("accuracy"),
                  .top5 = json.at("top5"),
                  .loss = json.at("loss"),
                  .parameters = json.at("parameters"),
                  .nonzeros = json.at("nonzeros"),
                  .sparsity = json.at("sparsity"),
                  .macs = json.at("macs"),
                  .bytes = json.at("bytes"),
                  .latency_ms = json.at("latency_ms"),
                  .best = {}};
    if (json.contains("best")) {
      const Json& best = json["best"];
      s.best = BestResult{best.at("epoch"), best.at("validation_accuracy"), best.at("accuracy"),
                          best.at("top5"), best.at("loss"), best.at("nonzeros"), best.at("sparsity")};
    }
    return s;
  } catch (const nlohmann::json::exception& e) {
    fail(source, ": not a stage's result: ", e.what());
  }
}

RunResult run_from_json(const Json& json, const std::string& source) {
  try {
    RunResult run{.name = json.at("name"),
                  .seed = json.at("seed"),
                  .device = json.at("device"),
                  .threads = json.at("threads"),
                  .version = json.at("version"),
                  .commit = json.at("commit"),
                  .stages = {}};
    for (const Json& stage : json.at("stages")) run.stages.push_back(stage_from_json(stage, source));
    return run;
  } catch (const nlohmann::json::exception& e) {
    fail(source, ": not a run's result: ", e.what());
  }
}

std::string result_table(const std::vector<RunResult>& runs) {
  Table table({"<run", "<stage", "accuracy", "top-5", "loss", "parameters", "non-zeros", "sparsity", "MACs",
               "size", "latency", "images/s", "time"});
  for (const RunResult& run : runs)
    for (const StageResult& s : run.stages) {
      const std::string name = runs.size() > 1 ? run.name : "";
      table.add({name, s.name, fmt::format("{:.2f} %", s.accuracy), fmt::format("{:.2f} %", s.top5),
                 fmt::format("{:.4f}", s.loss), grouped(s.parameters), grouped(s.nonzeros),
                 fmt::format("{:.2f} %", 100 * s.sparsity), grouped(s.macs), bytes_text(s.bytes),
                 fmt::format("{:.3g} ms", s.latency_ms),
                 s.images_per_second > 0 ? grouped(static_cast<int64_t>(s.images_per_second)) : "",
                 fmt::format("{:.1f} s", s.seconds)});
      if (s.best)
        table.add({name, fmt::format("{}, best (epoch {})", s.name, s.best->epoch),
                   fmt::format("{:.2f} %", s.best->accuracy), fmt::format("{:.2f} %", s.best->top5),
                   fmt::format("{:.4f}", s.best->loss), "", grouped(s.best->nonzeros),
                   fmt::format("{:.2f} %", 100 * s.best->sparsity)});
    }
  return table.str();
}

}  // namespace espalier

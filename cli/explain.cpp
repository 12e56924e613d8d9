// espalier explain
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "espalier/cli/arguments.h"
#include "espalier/cli/open_model.h"
#include "espalier/prune/report.h"
#include "espalier/run/build.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/explain.h"
#include "espalier/run/run_folder.h"
#include "espalier/util/definition_list.h"
#include "espalier/util/error.h"
#include "espalier/util/input_file.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// What is explained, and on what.
struct Subject {
  Config config;
  size_t stage = 0;
  std::string weights;  ///< a file; empty: initial ones
  std::string found;    ///< in words, what they are
};

/// "dense (train), pruned (prune)", of the stages before one.
std::string stages_before(const Subject& subject) {
  std::vector<std::string> names;
  for (size_t i = 0; i < subject.stage; ++i) {
    const StageConfig& stage = subject.config.stages[i];
    names.push_back(fmt::format("{} ({})", stage.name, stage_kind_name(stage.kind())));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

/// Of a config: its weights, or `weights`, as that of its model would be.
Subject of_config(const std::string& given, std::vector<std::string> overrides,
                  const std::optional<std::string>& stage, const std::optional<std::string>& weights,
                  bool quiet) {
  Subject subject;
  if (weights) {
    require_file(*weights);
    overrides.push_back("model.weights=" + Json(*weights).dump());
  }
  subject.config = load_config(config_named(given, quiet), overrides);
  subject.stage = stage_that_prunes(subject.config, stage);
  const std::optional<std::string>& file = subject.config.model.weights;
  subject.weights = file.value_or("");
  subject.found = file ? *file : join("initial ones, of seed ", subject.config.seed);
  if (!weights && subject.stage > 0)
    subject.found += "; a run comes to others by then, with " + stages_before(subject) +
                     ": --weights FILE, or a run's folder, has them";
  return subject;
}

/// Of a run: the weights that the stage found, or `weights`.
Subject of_run(const RunFolder& run, const std::vector<std::string>& overrides,
               const std::optional<std::string>& stage, const std::optional<std::string>& weights) {
  const std::string name = run.path().string();
  if (!run.holds_run()) fail_usage(printable(name), ": is a folder, and holds no run");
  if (!fs::exists(run.config())) fail_usage(printable(name), ": has no config.json");
  Subject subject;
  subject.config = load_config(run.config().string(), overrides);
  subject.stage = stage_that_prunes(subject.config, stage);
  if (weights) {
    require_file(*weights);
    subject.weights = subject.found = *weights;
  } else if (subject.stage == 0) {
    subject.weights = subject.config.model.weights.value_or("");
    subject.found =
        subject.weights.empty() ? join("initial ones, of seed ", subject.config.seed) : subject.weights;
    return subject;  // with what its config says of them
  } else {
    const std::string& before = subject.config.stages[subject.stage - 1].name;
    const bool is_over = fs::exists(run.model(before));
    if (!is_over && !run.has_checkpoint())
      fail_usage(printable(name), ": has neither ", printable(run.model(before).string()),
                 " nor a checkpoint");
    subject.weights = (is_over ? run.model(before) : run.checkpoint()).string();
    subject.found = subject.weights;
    if (!is_over) subject.found += "; stage '" + before + "', before it, is not over";
  }
  subject.config.model.weights = subject.weights;
  subject.config.model.skip.reset();  // of the file that the run began with
  subject.config.model.hold_zeros.reset();
  return subject;
}

std::string stage_text(const Subject& subject, const Explanation& explanation) {
  std::string text = subject.config.stages[subject.stage].name;
  if (!explanation.schedule) return text + ", prunes at once";
  text += ", prunes while it trains, schedule " + explanation.schedule->type;
  if (!explanation.step) return text + ": shown is its end, at the weights of its beginning";
  return text + fmt::format(": shown is step {}, at the weights of its beginning", *explanation.step);
}

std::string scores_text(const Explanation& explanation) {
  const Scoring& scoring = explanation.options.scoring;
  const Normalizer by = scoring.normalizer.value_or(scoring.criterion.normalizer);
  std::string text = explanation.result.compared && by != Normalizer::none
                         ? "of each layer divided by its " + normalizer_names()[static_cast<size_t>(by)]
                         : "as the criterion gives them";
  if (by == Normalizer::standardize && explanation.result.compared)
    text = "of each layer moved to 0..1 by its smallest and largest";
  if (explanation.options.iterations > 1)
    text += fmt::format("; of the last of {} selections", explanation.options.iterations);
  return text;
}

std::string scope_text(const std::string& scope, const PruneResult& result) {
  if (scopes().named(scope).ranked == Scope::each_output)
    return scope + ": what each output of a layer looks at is ranked by itself";
  if (has_classes(result)) return scope + ": layers of the same class are ranked against each other";
  const bool one = !result.scores.empty() && result.scores.front().ranked == result.scores.back().ranked;
  return scope + (result.scores.size() > 1 && one ? ": all layers are ranked against each other"
                                                  : ": each layer is ranked by itself");
}

std::string criterion_text(const Criterion& criterion) {
  return criterion.name + ": " + criterion.help + (criterion.paper.empty() ? "" : "\n" + criterion.paper);
}

void print_text(const Subject& subject, const Explanation& explanation, const std::string& data) {
  const PruneConfig& prune = *subject.config.stages[subject.stage].pruning();
  const PruneOptions& options = explanation.options;
  const size_t width = terminal_width();
  print(definition_list(
      {{"stage", stage_text(subject, explanation)},
       {"weights", subject.found},
       {"unit", options.unit.kind == Unit::n_of_m ? options.unit.name() : options.unit.plural()},
       {"criterion", criterion_text(options.scoring.criterion)},
       {"scope", scope_text(prune.scope, explanation.result)},
       {"target", target_text(explanation)},
       {"data", data},
       {"scores", scores_text(explanation)}},
      width, 0));
  std::string text = "\n" + scores_table(explanation.result, options.unit.plural(), width);
  std::vector<Definition> more;
  for (const std::string& line : held_lines(explanation.result, options.unit.plural()))
    more.push_back({"limit", line});
  for (const LeftOut& one : explanation.left_out) more.push_back({"left out", one.layer + ": " + one.why});
  if (const std::string dead = dead_line(explanation.dead); !dead.empty())
    more.push_back({"dead", dead.substr(dead.find(": ") + 2)});
  if (!more.empty()) text += "\n" + definition_list(more, width, 0);
  print(text);
  for (const std::string& warning : explanation.warnings)
    print(definition_list({{"warning", warning}}, width, 0), Colour::yellow);
}

Json number_json(const std::optional<double>& number) { return number ? Json(*number) : Json(); }

Json layer_json(const PruneResult& result, size_t i, const std::vector<DeadUnits>& dead) {
  const PruneResult::Layer& layer = result.layers[i];
  const LayerScores& scores = result.scores[i];
  Json json = {{"layer", layer.name},
               {"units", layer.units},
               {"gone_before", layer.already},
               {"go_now", layer.pruned - layer.already},
               {"class", scores.ranked},
               {"scores", Json()},
               {"highest_gone", number_json(scores.highest_gone)},
               {"lowest_kept", number_json(scores.lowest_kept)},
               {"held", Json()},
               {"dead_filters", 0},
               {"dead_columns", 0}};
  if (scores.any()) json["scores"] = {{"min", scores.min}, {"median", scores.median}, {"max", scores.max}};
  for (const Ranking::Held& held : result.held)
    if (held.layer == layer.name) json["held"] = {{"kept", held.kept}, {"wanted", held.wanted}};
  for (const DeadUnits& one : dead)
    if (one.layer == layer.name) {
      json["dead_filters"] = one.filters;
      json["dead_columns"] = one.columns;
    }
  return json;
}

Json explanation_json(const Subject& subject, const Explanation& explanation) {
  const StageConfig& stage = subject.config.stages[subject.stage];
  const PruneOptions& options = explanation.options;
  const PruneResult& result = explanation.result;
  Json layers = Json::array(), left_out = Json::array(), schedule, target;
  for (size_t i = 0; i < result.layers.size(); ++i) layers.push_back(layer_json(result, i, explanation.dead));
  for (const LeftOut& one : explanation.left_out)
    left_out.push_back({{"layer", one.layer}, {"why", one.why}});
  if (options.unit.kind == Unit::n_of_m)
    target = {{"n", options.unit.n}, {"m", options.unit.m}};
  else
    target[target_names()[options.target.kind]] = options.target.value;
  if (explanation.schedule)
    schedule = {{"type", explanation.schedule->type},
                {"step", explanation.step ? Json(*explanation.step) : Json()}};
  const Normalizer by = options.scoring.normalizer.value_or(options.scoring.criterion.normalizer);
  const PruneResult::Layer total = result.total();
  return {
      {"config", subject.config.file},
      {"stage", stage.name},
      {"weights", subject.weights.empty() ? Json() : Json(subject.weights)},
      {"unit", options.unit.name()},
      {"criterion", options.scoring.criterion.name},
      {"paper", options.scoring.criterion.paper},
      {"scope", stage.pruning()->scope},
      {"normalizer", normalizer_names()[static_cast<size_t>(result.compared ? by : Normalizer::none)]},
      {"target", target},
      {"schedule", schedule},
      {"layers", layers},
      {"total",
       {{"units", total.units}, {"gone_before", total.already}, {"go_now", total.pruned - total.already}}},
      {"left_out", left_out},
      {"warnings", explanation.warnings}};
}

}  // namespace

void explain(const Given& given) {
  std::string file;
  std::vector<std::string> overrides;
  std::optional<std::string> root, stage, weights;
  int64_t at = -1;
  bool json = false;
  Arguments arguments("explain");
  arguments.positional("CONFIG", file, "A config (.json, or a recipe's name), or the folder of a run")
      .text("--stage", "NAME", stage, "The stage whose pruner it is (default: the first that prunes)")
      .whole("--at", at, 0, int64_t{1} << 53,
             "A step of the schedule, from 0, of a stage that prunes while it trains (default: its end)")
      .path("--weights", "FILE", weights,
            "What is pruned, a checkpoint or weights (default: the config's; of a run what the stage found)")
      .overrides(overrides)
      .data_root(root)
      .device()
      .threads()
      .flag("--json", json, "Print JSON, numbers with all digits");
  if (!arguments.parse(given)) return;

  std::error_code none;
  const fs::path path = fs::path(file).lexically_normal();
  Subject subject =
      fs::is_directory(path, none)
          ? of_run(RunFolder(path.has_filename() ? path : path.parent_path()), overrides, stage, weights)
          : of_config(file, overrides, stage, weights, json);
  Config& config = subject.config;
  use_precision(config);
  take_classes(config, root);
  WeightsNotes notes;
  const auto model = build_model(config, true, &notes);
  const auto say = [json](const std::string& line) {
    if (json)
      note(line);  // standard output is only the object
    else
      print(line + "\n");
  };
  const bool looks = looks_at_data(*config.stages[subject.stage].pruning());
  DataSplits data;
  if (looks || at >= 0) data = build_data(config, root, json ? Say() : Say(say));
  for (const auto* lines : {&config.notes, &notes.lines, &notes.warnings, &data.notes})
    for (const std::string& line : *lines) say(line);
  const Explanation explanation = explain_stage(config, subject.stage, *model, data.train,
                                                at >= 0 ? std::optional<int64_t>(at) : std::nullopt);
  if (json) return print_json(explanation_json(subject, explanation), 2);
  print_text(subject, explanation,
             looks ? fmt::format("{}, {} {}", data.train.name, grouped(data.train.size()),
                                 plural(data.train.size(), "image"))
                   : "the criterion looks at none");
}

}  // namespace espalier::cli

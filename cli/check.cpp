// espalier check
#include <fmt/format.h>

#include <algorithm>

#include "espalier/cli/arguments.h"
#include "espalier/cli/open_model.h"
#include "espalier/core/mistakes.h"
#include "espalier/core/parallel.h"
#include "espalier/core/table.h"
#include "espalier/core/utf8.h"
#include "espalier/nn/network.h"
#include "espalier/prune/report.h"
#include "espalier/train/advice.h"
#include "espalier/train/build.h"
#include "espalier/train/parts.h"
#include "espalier/train/plan.h"

namespace espalier::cli {
namespace {

std::string data_lines(const Config& config, const DataSplits& data) {
  std::string lines = fmt::format("data    {} images to train on, ", grouped(data.train.size()));
  if (data.validation.size() > 0) lines += fmt::format("{} held out, ", grouped(data.validation.size()));
  lines += fmt::format("{} to test\n", grouped(data.test.size()));
  const auto& names = data.train.class_names;
  const size_t shown = std::min<size_t>(names.size(), 10);
  lines += fmt::format("        {} x {} x {}, {} classes: ", data.train.height(), data.train.width(),
                       data.train.channels(), names.size());
  for (size_t i = 0; i < shown; ++i) lines += (i ? ", " : "") + printable(names[i], 60);
  lines += shown < names.size() ? ", ...\n" : "\n";
  for (const std::string& note : data.notes) lines += "        " + note + "\n";
  for (const std::string& note : batch_notes(config, data.train)) lines += "        " + note + "\n";
  return lines;
}

/// When a pruner acts, in steps that count from 0, as the config's do.
std::string pruning_text(const Schedule& schedule) {
  const int64_t times = schedule.times();
  if (times == 1) return fmt::format("prunes once, at step {} (from 0)", grouped(schedule.begin));
  return fmt::format("prunes {} times, at steps {} to {} (from 0), every {}", grouped(times),
                     grouped(schedule.begin), grouped(schedule.end), grouped(schedule.every));
}

/// `macs`: of the model that the first stage begins with.
std::string time_lines(const std::vector<StagePlan>& stages, int64_t macs) {
  double total = 0;
  std::string lines;
  for (const StagePlan& stage : stages) {
    total += stage.seconds;
    lines += fmt::format("        {}: {}", stage.name, duration_text(stage.seconds));
    if (stage.steps > 0)
      lines += fmt::format(", {} steps at {} images/s", grouped(stage.steps),
                           grouped(static_cast<int64_t>(stage.images_per_second)));
    if (stage.macs != macs)
      lines += fmt::format(", cuts MACs from {} to {}", grouped(macs), grouped(stage.macs));
    macs = stage.macs;
    lines += "\n";
    if (stage.climb_steps > 0)
      lines += fmt::format("        {}: the learning rate climbs over {} steps\n", stage.name,
                           grouped(stage.climb_steps));
    if (stage.pruning) lines += fmt::format("        {}: {}\n", stage.name, pruning_text(*stage.pruning));
    if (!stage.warning.empty())
      lines += fmt::format("        {}: warning: may fail, as it does with fresh weights: {}\n", stage.name,
                           stage.warning);
  }
  return fmt::format("time    about {} on {} {}\n{}", duration_text(total), espalier::threads(),
                     espalier::threads() == 1 ? "thread" : "threads", lines);
}

/// What a run would say of its config, its weights and its lists of layers, and warn of.
std::string note_lines(const std::vector<std::string>& config, const WeightsNotes& weights,
                       const std::vector<std::string>& layers, const std::vector<std::string>& warnings) {
  std::string lines;
  for (const std::string& note : config) lines += "note    " + note + "\n";
  for (const std::string& note : weights.lines) lines += "note    " + note + "\n";
  for (const std::string& warning : weights.warnings) lines += "warning " + warning + "\n";
  for (const std::string& note : layers) lines += "note    " + note + "\n";
  for (const std::string& warning : warnings) lines += "warning " + warning + "\n";
  return lines;
}

}  // namespace

void check(const Given& given) {
  std::string file;
  std::vector<std::string> overrides;
  std::optional<std::string> root;
  Arguments arguments("check");
  arguments.positional("CONFIG", file, "The JSON file to check, or a recipe's name")
      .overrides(overrides)
      .data_root(root)
      .threads();
  if (!arguments.parse(given)) return;

  file = config_named(file);
  Mistakes mistakes;
  const Config config = load_config(file, overrides, {}, mistakes);
  const Parts parts =
      check_parts(config, root, mistakes, [](const std::string& line) { print(line + "\n"); });
  mistakes.report(file);
  const Plan plan = make_plan(config, *parts.data);
  const Network network(*parts.model, config.model.input);
  print(printable(file) + ": is valid\n\n" + network_table(network.layers, network.totals, terminal_width()) +
        "\n" + data_lines(config, *parts.data) + "memory  about " + plan.memory.text() + "\n" +
        time_lines(plan.stages, network.totals.macs) +
        note_lines(config.notes, parts.notes, notes_on_layers(config, *parts.model), advice(config, training_loader(config, parts.data->train).batches())));
}

}  // namespace espalier::cli

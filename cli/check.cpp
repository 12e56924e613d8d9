// espalier check
#include <fmt/format.h>

#include <algorithm>

#include "espalier/cli/arguments.h"
#include "espalier/cli/open_model.h"
#include "espalier/core/compute_device.h"
#include "espalier/core/parallel.h"
#include "espalier/nn/network.h"
#include "espalier/prune/report.h"
#include "espalier/run/advice.h"
#include "espalier/run/build.h"
#include "espalier/run/distill.h"
#include "espalier/run/parts.h"
#include "espalier/run/plan.h"
#include "espalier/util/definition_list.h"
#include "espalier/util/mistakes.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

std::string data_text(const Config& config, const DataSplits& data) {
  std::string text = fmt::format("{} images to train on, ", grouped(data.train.size()));
  if (data.validation.size() > 0) text += fmt::format("{} held out, ", grouped(data.validation.size()));
  text += fmt::format("{} to test\n", grouped(data.test.size()));
  const auto& names = data.train.class_names;
  const size_t shown = std::min<size_t>(names.size(), 10);
  text += fmt::format("{} x {} x {}, {} {}: ", data.train.height(), data.train.width(), data.train.channels(),
                      names.size(), names.size() == 1 ? "class" : "classes");
  for (size_t i = 0; i < shown; ++i) text += (i ? ", " : "") + printable(names[i], 60);
  text += shown < names.size() ? ", ...\n" : "\n";
  for (const std::string& note : data.notes) text += note + "\n";
  for (const std::string& note : batch_notes(config, data.train)) text += note + "\n";
  return text;
}

/// When a pruner acts, in steps that count from 0, as the config's do.
std::string pruning_text(const Schedule& schedule) {
  const int64_t times = schedule.times();
  if (times == 1) return fmt::format("prunes once, at step {} (from 0)", grouped(schedule.begin));
  std::string text = fmt::format("{} {} times, at steps {} to {} (from 0)",
                                 schedule.gives_back() ? "lets go and prunes in turn," : "prunes",
                                 grouped(times), grouped(schedule.begin), grouped(schedule.last()));
  if (schedule.table.empty()) text += ", every " + grouped(schedule.every);
  return text;
}

/// On a card with what it has, for what the machine has is more than most runs take.
std::string memory_text(const MemoryPlan& plan) {
  const CardMemory card = card_memory();
  if (card.total == 0) return "about " + plan.text();
  return fmt::format("about {}; the card has {} of {} left, for batches of up to about {}", plan.text(),
                     bytes_text(card.used + card.left), bytes_text(card.total),
                     grouped(plan.batch_within(card.used + card.left)));
}

/// `macs`: of the model that the first stage begins with.
std::string time_text(const std::vector<StagePlan>& stages, int64_t macs) {
  double total = 0;
  std::string lines;
  for (const StagePlan& stage : stages) {
    total += stage.seconds;
    lines += fmt::format("\n{}: {}", stage.name, duration_text(stage.seconds));
    if (stage.steps > 0)
      lines += fmt::format(", {} steps at {} images/s", grouped(stage.steps),
                           grouped(static_cast<int64_t>(stage.images_per_second)));
    if (stage.macs != macs)
      lines += fmt::format(", cuts MACs from {} to {}", grouped(macs), grouped(stage.macs));
    macs = stage.macs;
    if (stage.climb_steps > 0)
      lines +=
          fmt::format("\n{}: the learning rate climbs over {} steps", stage.name, grouped(stage.climb_steps));
    if (stage.teacher_macs > 0)
      lines += fmt::format("\n{}: its teacher, of {} MACs, takes {:.0f} % of a step", stage.name,
                           grouped(stage.teacher_macs), 100 * stage.teacher_share);
    if (stage.pruning) lines += fmt::format("\n{}: {}", stage.name, pruning_text(*stage.pruning));
  }
  const std::string threads = join(espalier::threads(), " ", plural(espalier::threads(), "thread"));
  return fmt::format("about {} on {}{}", duration_text(total),
                     compute_device() == Device::cuda ? card_text() : threads, lines);
}

void append(std::vector<std::string>& all, const std::vector<std::string>& more) {
  all.insert(all.end(), more.begin(), more.end());
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
      .device()
      .threads();
  if (!arguments.parse(given)) return;

  file = config_named(file);
  Mistakes mistakes;
  Config config = load_config(file, overrides, {}, mistakes);
  mistakes.attempt("/precision", [&] { use_precision(config); });
  const Parts parts =
      check_parts(config, root, mistakes, [](const std::string& line) { print(line + "\n"); });
  mistakes.report(file);
  const Plan plan = make_plan(config, *parts.data);
  const Network network(*parts.model, config.model.input);
  // What a run would say of its config, its weights and its lists of layers, and warn of.
  std::vector<std::string> notes = config.notes, warnings = parts.notes.warnings;
  append(notes, parts.notes.lines);
  append(notes, notes_on_layers(config, *parts.model));
  for (const StagePlan& stage : plan.stages) append(warnings, stage.warnings);
  append(warnings, warnings_of_teachers(config));
  append(warnings, advice(config, parts.batches.value()));

  std::vector<Definition> report{{"data", data_text(config, *parts.data)},
                                 {"memory", memory_text(plan.memory)},
                                 {"time", time_text(plan.stages, network.totals.macs)}};
  for (const std::string& note : notes) report.push_back({"note", note});
  const size_t width = terminal_width();
  print(printable(file) + ": is valid\n\n" + network_table(network.layers, network.totals, width) + "\n" +
        definition_list(report, width, 0));
  for (const std::string& warning : warnings)
    print(definition_list({{"warning", warning}}, width, 0), Colour::yellow);
}

}  // namespace espalier::cli

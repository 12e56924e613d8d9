#include "espalier/run/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "espalier/run/build.h"
#include "espalier/run/pruning.h"
#include "espalier/util/mistakes.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

/// "steps 0 to 90, every 10"
std::string steps_text(const Schedule& schedule) {
  if (schedule.times() == 1) return fmt::format("step {}", schedule.begin);
  return fmt::format("steps {} to {}, every {}", schedule.begin, schedule.end, schedule.every);
}

/// The schedule of a stage at whose `step` it is asked what the pruner does.
Schedule schedule_at(const Config& config, const StageConfig& stage, const Dataset& train, int64_t step) {
  if (!stage.train) fail_usage("prunes at once, and has no step ", step);
  const int64_t batches = training_loader(config, train).batches();
  Schedule schedule = prune_schedule(*stage.train, stage_length(*stage.train, batches));
  if (!schedule.acts_at(step))
    fail_usage("its schedule does not act at step ", step, ", but at ", steps_text(schedule), " (from 0)");
  return schedule;
}

}  // namespace

size_t stage_that_prunes(const Config& config, const std::optional<std::string>& name) {
  std::vector<std::string> names, pruning;
  for (size_t i = 0; i < config.stages.size(); ++i) {
    const StageConfig& stage = config.stages[i];
    names.push_back(stage.name);
    if (stage.pruning()) pruning.push_back(stage.name);
    if (name ? stage.name == *name && stage.pruning() : stage.pruning() != nullptr) return i;
  }
  const std::string which = pruning.empty() ? "none does" : "those that do: " + enumerated(pruning);
  if (!name) fail_usage(config.file, ": no stage prunes");
  if (std::ranges::count(names, *name) > 0)
    fail_usage(config.file, ": stage '", *name, "' does not prune; ", which);
  fail_usage(config.file, ": no stage '", printable(*name), "'", did_you_mean(*name, names));
}

bool looks_at_data(const PruneConfig& prune) { return kind_of(needs_of(prune)).data; }

Explanation explain_stage(const Config& config, size_t stage, Module& model, const Dataset& train,
                          std::optional<int64_t> step) {
  const StageConfig& of = config.stages[stage];
  PruneConfig prune = *of.pruning();
  if (needs_of(prune) == Needs::movement)
    fail_usage(config.file, ": stage '", of.name, "': criterion ", prune.criterion.type,
               " goes by what the stage's steps add up to, and before them there is nothing to explain");
  prune.verify = false;  // a proof is of what is kept
  const Shape& input = config.model.input;
  Explanation explanation{.options = prune_options(prune, pruning_key(config)),
                          .result = {},
                          .left_out = {},
                          .dead = {},
                          .warnings = {},
                          .step = step};
  Mistakes mistakes;
  mistakes.attempt(
      "",
      [&] {
        if (step)
          explanation.schedule = schedule_at(config, of, train, *step);
        else if (of.train)
          explanation.schedule = Schedule{.type = prune.schedule->type};
        const PruneOptions& options = explanation.options;
        explanation.left_out = left_out(model, input, options.unit, options.include, options.exclude);
        Pruning pruning(config, prune, model, train, of.train ? &*of.train : nullptr);
        pruning.explain();
        const OriginalNetwork original = pruning.original();
        explanation.result =
            step ? pruning.act(original, *explanation.schedule, *step).value() : pruning.act(original);
        explanation.warnings = pruning.warnings(explanation.result);
      },
      join(config.file, config.file.empty() ? "" : ": ", "stage '", of.name, "': "));
  mistakes.report(config.file);
  explanation.dead = dead_units(model);
  std::ranges::copy(collapsed_layers(model), std::back_inserter(explanation.warnings));
  return explanation;
}

std::string target_text(const Explanation& explanation) {
  const auto& [unit, target] = std::tie(explanation.options.unit, explanation.options.target);
  if (unit.kind == Unit::n_of_m) return fmt::format("{} of each {} stay", unit.n, unit.m);
  const std::string& name = target_names()[target.kind];
  if (!explanation.step) return fmt::format("{} {}", name, target.value);
  const double progress = explanation.schedule->sparsity_at(*explanation.step, 1.0);
  if (target.is_moved())
    return fmt::format("{} {:.4g} of {}", name,
                       explanation.schedule->sparsity_at(*explanation.step, target.value), target.value);
  return fmt::format("{} {}, {:.3g} % of the way", name, target.value, 100 * progress);
}

}  // namespace espalier

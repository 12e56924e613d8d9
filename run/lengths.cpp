#include "espalier/run/lengths.h"

#include <algorithm>
#include <utility>

#include "espalier/run/build.h"
#include "espalier/run/pruning.h"
#include "espalier/train/regrow_callback.h"
#include "espalier/util/table.h"

namespace espalier {

bool same_length(const TrainConfig& a, const TrainConfig& b) {
  return a.epochs == b.epochs && a.steps == b.steps;
}

std::string length_of(const StageConfig& stage) {
  const int64_t count = stage.train->epochs ? *stage.train->epochs : *stage.train->steps;
  return grouped(count) + " " + plural(count, stage.train->epochs ? "epoch" : "step");
}

std::vector<std::string> lengths_of(const Config& config) {
  std::vector<std::string> lengths;
  for (const StageConfig& stage : config.stages) lengths.push_back(stage.train ? length_of(stage) : "");
  return lengths;
}

Config with_lengths_of_run(Config config, const RunFolder& folder) {
  std::error_code none;
  if (!folder.has_checkpoint() || std::filesystem::equivalent(config.file, folder.config(), none))
    return config;
  const CheckpointInfo saved = read_checkpoint_info(folder.checkpoint());
  if (!saved.position) return config;
  const std::vector<std::string>& begun = saved.position->begun;
  const size_t stages = std::min({config.stages.size(), saved.config.stages.size(), begun.size()});
  for (size_t i = 0; i < stages; ++i) {
    StageConfig& ours = config.stages[i];
    const StageConfig& theirs = saved.config.stages[i];
    if (!ours.train || !theirs.train || same_length(*ours.train, *theirs.train)) continue;
    if (length_of(ours) != begun[i]) continue;
    const std::string pointer = stage_pointer(config, i) + "/train";
    if (schema::is_set(pointer + "/epochs", config.set) || schema::is_set(pointer + "/steps", config.set))
      continue;
    config.notes.push_back(join(folder.path().string(), ": stage '", ours.name, "' trains for ",
                                length_of(theirs), ", as the run was told since it began, not ",
                                length_of(ours)));
    ours.train->epochs = theirs.train->epochs;
    ours.train->steps = theirs.train->steps;
  }
  return config;
}

std::optional<int64_t> last_training(const Config& config) {
  for (auto at = static_cast<int64_t>(config.stages.size()) - 1; at >= 0; --at) {
    const StageConfig& stage = config.stages[static_cast<size_t>(at)];
    if (stage.train) return at;
    if (!stage.evaluate) return std::nullopt;
  }
  return std::nullopt;
}

namespace {

/// Fails if a stage of `total` steps, or of `before`, would not have made the same first `done` steps.
void check_past(const std::string& place, const StageConfig& stage, int64_t done, int64_t before,
                int64_t total, int64_t epoch_steps) {
  const TrainConfig& train = *stage.train;
  const auto refuse = [&](int64_t step, const std::string& what, const std::string& schedule) {
    fail_usage(place, ": stage '", stage.name, "' has made ", grouped(done), " of ", grouped(before),
               " steps, and if it had ", length_of(stage), ", step ", grouped(step + 1),
               " would have had another ", what, ": the schedule ", schedule,
               " goes by the number of all steps; --output DIR writes elsewhere");
  };
  for (int64_t step = 0; step < done; ++step) {
    const auto rate = [&](int64_t steps) {
      return std::pair(learning_rate(train.schedule, train.optimizer.lr, step, steps, epoch_steps),
                       scheduled_momentum(train.schedule, step, steps));
    };
    if (rate(before) != rate(total)) refuse(step, "learning rate", train.schedule.type);
  }
  if (train.regrow) {
    const RegrowSchedule was = regrow_schedule(*train.regrow, {epoch_steps, before}),
                         is = regrow_schedule(*train.regrow, {epoch_steps, total});
    for (int64_t step = 0; step < done; ++step) {
      const bool acts = was.acts_at(step);
      if (acts != is.acts_at(step) || (acts && was.share_at(step) != is.share_at(step)))
        refuse(step, "regrowth", train.regrow->type);
    }
  }
  if (!train.prune) return;
  const Schedule was = prune_schedule(train, {epoch_steps, before}),
                 is = prune_schedule(train, {epoch_steps, total});
  const double target = train.prune->sparsity.value_or(1);
  for (int64_t step = 0; step < done; ++step) {
    const bool acts = was.acts_at(step);
    if (acts != is.acts_at(step) || (acts && was.sparsity_at(step, target) != is.sparsity_at(step, target)))
      refuse(step, "sparsity", train.prune->schedule->type);
  }
}

}  // namespace

std::vector<std::string> check_lengths(const RunFolder& folder, const CheckpointInfo& saved,
                                       const Config& config, int64_t batches) {
  const std::string place = folder.path().string();
  const Position& at = *saved.position;
  std::vector<std::string> lines;
  for (size_t i = 0; i < config.stages.size(); ++i) {
    const StageConfig &ours = config.stages[i], &theirs = saved.config.stages[i];
    if (!ours.train || same_length(*ours.train, *theirs.train)) continue;
    if (static_cast<int64_t>(i) < at.stage)
      fail_usage(place, ": stage '", ours.name, "' is done after ", length_of(theirs),
                 ", and what follows it began from there; --output DIR writes elsewhere");
    const int64_t total = stage_steps(*ours.train, batches), before = stage_steps(*theirs.train, batches);
    if (static_cast<int64_t>(i) == at.stage) {
      if (total < at.step)
        fail_usage(place, ": stage '", ours.name, "' has made ", grouped(at.step),
                   " steps already, which is more than ", length_of(ours), "; --output DIR writes elsewhere");
      check_past(place, ours, at.step, before, total, epoch_steps(*ours.train, batches));
    }
    lines.push_back(join(place, ": stage '", ours.name, "' trains for ", length_of(ours), " now, not ",
                         length_of(theirs)));
  }
  return lines;
}

}  // namespace espalier

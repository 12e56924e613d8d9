// Learning-rate schedules: the rate, and the momentum where a schedule moves it, are pure functions of the
// step, so there is nothing to save and nothing to resume.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "espalier/util/extra_options.h"
#include "espalier/util/registry.h"

namespace espalier {

struct ScheduleOptions {
  std::string type = "constant";         ///< a row of learning_rate_schedules()
  int64_t step_size = 1;                 ///< step: epochs between drops
  double gamma = 0.1;                    ///< step, multistep: factor of a drop
  std::vector<int64_t> milestones = {};  ///< multistep: epochs of the drops
  double max_lr = 0.0;                   ///< onecycle: the peak; 0: the optimizer's rate
  double pct_start = 0.3;                ///< onecycle: share of the steps that climb
  bool cycle_momentum = true;            ///< onecycle: momentum falls as the rate climbs
  int64_t warmup_steps = 0;    ///< the rate climbs linearly over so many steps first, under any type
  double warmup_epochs = 0.0;  ///< the same in epochs, instead
  double min_lr = 0.0;         ///< cosine: where it ends
  ExtraOptions extra = {};     ///< those that the row declares
};

/// What a name of a schedule stands for.
struct ScheduleInfo {
  std::string name, help;
  std::string paper = {};  ///< authors: title, venue; empty where there is none
  /// Which of step_size, milestones, gamma, min_lr, max_lr, pct_start and cycle_momentum concern it; a
  /// warm-up does in any case.
  std::vector<std::string> options = {};
  std::vector<ExtraOption> extra = {};
  /// What learning_rate() gives, without the climb; the options have all that the row declares.
  double (*rate)(const ScheduleOptions& options, double lr, int64_t step, int64_t total, int64_t epoch_steps);
  /// What scheduled_momentum() gives; null: nothing.
  std::optional<double> (*momentum)(const ScheduleOptions& options, int64_t step, int64_t total) = nullptr;
};
Registry<ScheduleInfo>& learning_rate_schedules();

/// The rate of step `step` (from 0) of `total` steps, `epoch_steps` of them an epoch, from the optimizer's
/// rate `lr`. A climb of w = climb_steps() steps multiplies what the schedule says by (step + 1) / w while
/// that is under 1.
double learning_rate(const ScheduleOptions& options, double lr, int64_t step, int64_t total,
                     int64_t epoch_steps);

/// Steps of the climb: warmup_steps, or as many as are nearest to warmup_epochs.
int64_t climb_steps(const ScheduleOptions& options, int64_t epoch_steps);

/// The momentum (sgd) or beta1 (adam, adamw) of step `step` (from 0) of `total` where the schedule moves it.
/// Nothing where it does not: the optimizer's own.
std::optional<double> scheduled_momentum(const ScheduleOptions& options, int64_t step, int64_t total);

}  // namespace espalier

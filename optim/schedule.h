// Learning-rate schedules: the rate, and the momentum where a schedule moves it, are pure functions of the
// step, so there is nothing to save and nothing to resume.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace espalier {

struct ScheduleOptions {
  std::string type = "constant";         ///< constant, step, multistep, cosine, onecycle, warmup
  int64_t step_size = 1;                 ///< step: epochs between drops
  double gamma = 0.1;                    ///< step, multistep: factor of a drop
  std::vector<int64_t> milestones = {};  ///< multistep: epochs of the drops
  double max_lr = 0.0;                   ///< onecycle: the peak; 0: the optimizer's rate
  double pct_start = 0.3;                ///< onecycle: share of the steps that climb
  bool cycle_momentum = true;            ///< onecycle: momentum falls as the rate climbs
  int64_t warmup_steps = 0;    ///< the rate climbs linearly over so many steps first, under any type
  double warmup_epochs = 0.0;  ///< the same in epochs, instead
  double min_lr = 0.0;         ///< cosine: where it ends
};

/// The rate of step `step` (from 0) of `total` steps, `epoch_steps` of them an epoch, from the optimizer's
/// rate `lr`.
///   step:      lr gamma^floor(epoch / step_size)
///   multistep: lr gamma^(milestones at or before the epoch)
///   cosine:    min_lr + (lr - min_lr) (1 + cos(pi step / total)) / 2           (Loshchilov and Hutter 2017)
///   onecycle:  cosine from max/25 to max over pct_start of the steps, then to max/25e4
///              (Smith and Topin 2019; as PyTorch's)
///   warmup:    constant behind the climb
/// A climb of w = climb_steps() steps multiplies any of them by (step + 1) / w while that is under 1.
double learning_rate(const ScheduleOptions& options, double lr, int64_t step, int64_t total,
                     int64_t epoch_steps);

/// Steps of the climb: warmup_steps, or as many as are nearest to warmup_epochs.
int64_t climb_steps(const ScheduleOptions& options, int64_t epoch_steps);

/// The momentum (sgd) or beta1 (adam, adamw) of step `step` (from 0) of `total` where the schedule moves it:
/// under onecycle with cycle_momentum a cosine from 0.95 to 0.85 over the steps that climb, then back
/// (Smith and Topin 2019; PyTorch's bounds). Nothing under all others: the optimizer's own.
std::optional<double> scheduled_momentum(const ScheduleOptions& options, int64_t step, int64_t total);

const std::vector<std::string>& learning_rate_schedules();

}  // namespace espalier

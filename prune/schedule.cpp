#include "espalier/prune/schedule.h"

#include <algorithm>
#include <cmath>

#include "espalier/util/error.h"
#include "espalier/util/spelling.h"

namespace espalier {

bool Schedule::acts_at(int64_t step) const {
  if (kind == one_shot) return step == begin;
  return step >= begin && step <= end && ((step - begin) % every == 0 || step == end);
}

int64_t Schedule::times() const {
  if (kind == one_shot) return 1;
  const int64_t length = end - begin;
  return 1 + length / every + (length % every != 0);
}

double Schedule::sparsity_at(int64_t step, double target) const {
  if (step < begin) return initial;
  if (kind == one_shot || step >= end) return target;
  const double left = static_cast<double>(end - step) / static_cast<double>(end - begin);
  return target + (initial - target) * (kind == cubic ? left * left * left : left);
}

const std::vector<std::string>& schedule_names() {
  static const std::vector<std::string> names = {"one_shot", "linear", "cubic"};
  return names;
}

Schedule::Kind schedule_named(const std::string& name) {
  return static_cast<Schedule::Kind>(position_of_name("schedule", name, schedule_names()));
}

const std::vector<std::string>& time_unit_names() {
  static const std::vector<std::string> names = {"steps", "epochs", "share"};
  return names;
}

TimeUnit time_unit_named(const std::string& name) {
  return static_cast<TimeUnit>(position_of_name("unit of time", name, time_unit_names()));
}

int64_t StageLength::in_steps(double amount, TimeUnit unit) const {
  const int64_t one = unit == TimeUnit::epochs ? epoch_steps : unit == TimeUnit::share ? steps : 1;
  return std::llround(std::min(1e15, amount * static_cast<double>(one)));
}

int64_t StageLength::step_at(double place, TimeUnit unit) const {
  const int64_t step = in_steps(place, unit), end = unit == TimeUnit::steps ? steps - 1 : steps;
  if (step > end)
    fail_usage("prune.schedule: acts at step ", step,
               unit == TimeUnit::epochs ? join(" (epoch ", place, ")") : "",
               ", but the stage has steps 0 to ", steps - 1);
  return std::min(step, steps - 1);
}

void check(const Schedule& schedule) {
  if (schedule.begin < 0)
    fail_usage("prune schedule: begins at step ", schedule.begin, ", expected 0 or later");
  if (schedule.kind == Schedule::one_shot) return;
  if (schedule.end < schedule.begin)
    fail_usage("prune schedule: ends at step ", schedule.end, ", before it begins at step ", schedule.begin);
  if (schedule.every < 1)
    fail_usage("prune schedule: acts every ", schedule.every, " steps, expected 1 or more");
}

}  // namespace espalier

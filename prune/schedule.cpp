#include "espalier/prune/schedule.h"

#include "espalier/core/error.h"
#include "espalier/prune/names.h"

namespace espalier {

bool Schedule::acts_at(int64_t step) const {
  if (kind == one_shot) return step == begin;
  return step >= begin && step <= end && ((step - begin) % every == 0 || step == end);
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

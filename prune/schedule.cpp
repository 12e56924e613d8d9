#include "espalier/prune/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "espalier/util/error.h"
#include "espalier/util/spelling.h"

namespace espalier {

namespace {

double linear(double rest, const ExtraOptions&) { return rest; }
double cubic(double rest, const ExtraOptions&) { return rest * rest * rest; }

double exponential(double rest, const ExtraOptions&) {
  constexpr double r = 0.01;
  return (std::pow(r, 1.0 - rest) - r) / (1.0 - r);
}

double cosine(double rest, const ExtraOptions&) { return (1.0 - std::cos(std::numbers::pi * rest)) / 2.0; }

}  // namespace

Registry<PruneScheduleInfo>& prune_schedules() {
  static Registry<PruneScheduleInfo> all(
      "schedule of sparsity", {{.name = "one_shot", .help = "none, from begin on"},
                               {.name = "linear", .help = "1 - p", .left = linear},
                               {.name = "cubic",
                                .help = "(1 - p)^3",
                                .paper = "Zhu, Gupta: To prune, or not to prune, ICLR 2018 workshop",
                                .left = cubic},
                               {.name = "exponential", .help = "(0.01^p - 0.01) / 0.99", .left = exponential},
                               {.name = "cosine",
                                .help = "(1 + cos(pi p)) / 2",
                                .paper = "Dettmers, Zettlemoyer: Sparse Networks from Scratch, 2019",
                                .left = cosine}});
  return all;
}

bool Schedule::acts_at(int64_t step) const {
  if (is_at_once()) return step == begin;
  return step >= begin && step <= end && ((step - begin) % every == 0 || step == end);
}

int64_t Schedule::times() const {
  if (is_at_once()) return 1;
  const int64_t length = end - begin;
  return 1 + length / every + (length % every != 0);
}

double Schedule::sparsity_at(int64_t step, double target) const {
  const PruneScheduleInfo& info = prune_schedules().named(type);
  if (step < begin) return initial;
  if (!info.left || step >= end) return target;
  if (step == begin) return initial;
  const double rest = static_cast<double>(end - step) / static_cast<double>(end - begin);
  const ExtraOptions all = extra.with_defaults(info.extra, "schedule " + info.name);
  return target + (initial - target) * info.left(rest, all);
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

int64_t StageLength::step_at(double place, TimeUnit unit, const char* whose) const {
  const int64_t step = in_steps(place, unit), end = unit == TimeUnit::steps ? steps - 1 : steps;
  if (step > end)
    fail_usage(whose, ": acts at step ", step, unit == TimeUnit::epochs ? join(" (epoch ", place, ")") : "",
               ", but the stage has steps 0 to ", steps - 1);
  return std::min(step, steps - 1);
}

void check(const Schedule& schedule) {
  if (schedule.begin < 0)
    fail_usage("prune schedule: begins at step ", schedule.begin, ", expected 0 or later");
  if (schedule.is_at_once()) return;
  if (schedule.end < schedule.begin)
    fail_usage("prune schedule: ends at step ", schedule.end, ", before it begins at step ", schedule.begin);
  if (schedule.every < 1)
    fail_usage("prune schedule: acts every ", schedule.every, " steps, expected 1 or more");
}

}  // namespace espalier

#include "espalier/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "espalier/core/error.h"
#include "espalier/core/spelling.h"

namespace espalier {
namespace {

/// From `from` to `to` along half a cosine, at `share` of the way.
double half_cosine(double from, double to, double share) {
  return to + (from - to) * (1.0 + std::cos(std::numbers::pi * share)) / 2.0;
}

double onecycle(double peak, double pct_start, int64_t step, int64_t total) {
  const double first = peak / 25.0, last = first / 1e4, at = static_cast<double>(step);
  const double climb = pct_start * static_cast<double>(total) - 1.0, end = static_cast<double>(total) - 1.0;
  if (at <= climb && climb > 0) return half_cosine(first, peak, at / climb);
  return end > climb ? half_cosine(peak, last, std::min(1.0, (at - climb) / (end - climb))) : last;
}

double shape(const ScheduleOptions& o, double lr, int64_t step, int64_t total, int64_t epoch_steps) {
  const int64_t epoch = step / std::max<int64_t>(1, epoch_steps);
  if (o.type == "constant" || o.type == "warmup") return lr;
  if (o.type == "step") return lr * std::pow(o.gamma, static_cast<double>(epoch / o.step_size));
  if (o.type == "multistep") {
    const auto passed =
        std::count_if(o.milestones.begin(), o.milestones.end(), [=](int64_t m) { return m <= epoch; });
    return lr * std::pow(o.gamma, static_cast<double>(passed));
  }
  if (o.type == "cosine")
    return half_cosine(lr, o.min_lr,
                       static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, total)));
  if (o.type == "onecycle") return onecycle(o.max_lr > 0 ? o.max_lr : lr, o.pct_start, step, total);
  fail_usage("schedule: no type '", o.type, "'", did_you_mean(o.type, learning_rate_schedules()));
}

}  // namespace

const std::vector<std::string>& learning_rate_schedules() {
  static const std::vector<std::string> names{"constant", "step",     "multistep",
                                              "cosine",   "onecycle", "warmup"};
  return names;
}

double learning_rate(const ScheduleOptions& o, double lr, int64_t step, int64_t total, int64_t epoch_steps) {
  const double rate = shape(o, lr, step, total, epoch_steps);
  return step < o.warmup_steps ? rate * static_cast<double>(step + 1) / static_cast<double>(o.warmup_steps)
                               : rate;
}

}  // namespace espalier

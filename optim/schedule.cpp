#include "espalier/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "espalier/util/error.h"
#include "espalier/util/spelling.h"

namespace espalier {
namespace {

/// From `from` to `to` along half a cosine, at `share` of the way.
double half_cosine(double from, double to, double share) {
  return to + (from - to) * (1.0 + std::cos(std::numbers::pi * share)) / 2.0;
}

/// From `first` to `peak` over pct_start of the steps, then to `last`.
double onecycle(double first, double peak, double last, double pct_start, int64_t step, int64_t total) {
  const double at = static_cast<double>(step);
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
  if (o.type == "onecycle") {
    const double peak = o.max_lr > 0 ? o.max_lr : lr, first = peak / 25.0;
    return onecycle(first, peak, first / 1e4, o.pct_start, step, total);
  }
  fail_no_type("schedule", o.type, learning_rate_schedules());
}

}  // namespace

const std::vector<std::string>& learning_rate_schedules() {
  static const std::vector<std::string> names{"constant", "step",     "multistep",
                                              "cosine",   "onecycle", "warmup"};
  return names;
}

double learning_rate(const ScheduleOptions& o, double lr, int64_t step, int64_t total, int64_t epoch_steps) {
  const double rate = shape(o, lr, step, total, epoch_steps);
  const int64_t climb = climb_steps(o, epoch_steps);
  return step < climb ? rate * static_cast<double>(step + 1) / static_cast<double>(climb) : rate;
}

int64_t climb_steps(const ScheduleOptions& o, int64_t epoch_steps) {
  return o.warmup_steps + std::llround(std::min(1e15, o.warmup_epochs * static_cast<double>(epoch_steps)));
}

std::optional<double> scheduled_momentum(const ScheduleOptions& o, int64_t step, int64_t total) {
  if (o.type != "onecycle" || !o.cycle_momentum) return std::nullopt;
  return onecycle(0.95, 0.85, 0.95, o.pct_start, step, total);
}

}  // namespace espalier

#include "espalier/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace espalier {
namespace {

/// From `from` to `to` along half a cosine, at `share` of the way.
double half_cosine(double from, double to, double share) {
  return to + (from - to) * (1.0 + std::cos(std::numbers::pi * share)) / 2.0;
}

double constant(const ScheduleOptions&, double lr, int64_t, int64_t, int64_t) { return lr; }

int64_t epoch_of(int64_t step, int64_t epoch_steps) { return step / std::max<int64_t>(1, epoch_steps); }

/// lr gamma^floor(epoch / step_size)
double drops(const ScheduleOptions& o, double lr, int64_t step, int64_t, int64_t epoch_steps) {
  return lr * std::pow(o.gamma, static_cast<double>(epoch_of(step, epoch_steps) / o.step_size));
}

/// lr gamma^(milestones at or before the epoch)
double drops_at_milestones(const ScheduleOptions& o, double lr, int64_t step, int64_t, int64_t epoch_steps) {
  const int64_t epoch = epoch_of(step, epoch_steps);
  const auto passed =
      std::count_if(o.milestones.begin(), o.milestones.end(), [=](int64_t m) { return m <= epoch; });
  return lr * std::pow(o.gamma, static_cast<double>(passed));
}

/// min_lr + (lr - min_lr) (1 + cos(pi step / total)) / 2
double cosine(const ScheduleOptions& o, double lr, int64_t step, int64_t total, int64_t) {
  return half_cosine(lr, o.min_lr,
                     static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, total)));
}

/// Half a cosine from `first` to `peak` over pct_start of the steps, then one to `last`.
double up_and_down(double first, double peak, double last, double pct_start, int64_t step, int64_t total) {
  const double at = static_cast<double>(step);
  const double climb = pct_start * static_cast<double>(total) - 1.0, end = static_cast<double>(total) - 1.0;
  if (at <= climb && climb > 0) return half_cosine(first, peak, at / climb);
  return end > climb ? half_cosine(peak, last, std::min(1.0, (at - climb) / (end - climb))) : last;
}

/// From max/25 to max and then to max/25e4, as PyTorch's.
double onecycle(const ScheduleOptions& o, double lr, int64_t step, int64_t total, int64_t) {
  const double peak = o.max_lr > 0 ? o.max_lr : lr, first = peak / 25.0;
  return up_and_down(first, peak, first / 1e4, o.pct_start, step, total);
}

/// From 0.95 to 0.85 while the rate climbs, then back: PyTorch's bounds.
std::optional<double> onecycle_momentum(const ScheduleOptions& o, int64_t step, int64_t total) {
  if (!o.cycle_momentum) return std::nullopt;
  return up_and_down(0.95, 0.85, 0.95, o.pct_start, step, total);
}

/// With the defaults of what the row declares.
ScheduleOptions complete(const ScheduleOptions& options, const ScheduleInfo& info) {
  ScheduleOptions all = options;
  all.extra = options.extra.with_defaults(info.extra, "schedule " + info.name);
  return all;
}

}  // namespace

Registry<ScheduleInfo>& learning_rate_schedules() {
  static Registry<ScheduleInfo> all(
      "learning-rate schedule",
      {{.name = "constant", .help = "the optimizer's rate", .rate = constant},
       {.name = "step",
        .help = "drops every step_size epochs",
        .options = {"step_size", "gamma"},
        .rate = drops},
       {.name = "multistep",
        .help = "drops at the milestones",
        .options = {"milestones", "gamma"},
        .rate = drops_at_milestones},
       {.name = "cosine",
        .help = "falls to min_lr along half a cosine",
        .paper = "Loshchilov, Hutter: SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017",
        .options = {"min_lr"},
        .rate = cosine},
       {.name = "onecycle",
        .help = "climbs from max_lr / 25 to max_lr, then falls to max_lr / 250000",
        .paper =
            "Smith, Topin: Super-Convergence: Very Fast Training of Neural Networks Using Large Learning "
            "Rates, 2019",
        .options = {"max_lr", "pct_start", "cycle_momentum"},
        .rate = onecycle,
        .momentum = onecycle_momentum},
       {.name = "warmup", .help = "constant after the climb", .rate = constant}});
  return all;
}

double learning_rate(const ScheduleOptions& o, double lr, int64_t step, int64_t total, int64_t epoch_steps) {
  const ScheduleInfo& info = learning_rate_schedules().named(o.type);
  const double rate = info.rate(complete(o, info), lr, step, total, epoch_steps);
  const int64_t climb = climb_steps(o, epoch_steps);
  return step < climb ? rate * static_cast<double>(step + 1) / static_cast<double>(climb) : rate;
}

int64_t climb_steps(const ScheduleOptions& o, int64_t epoch_steps) {
  return o.warmup_steps + std::llround(std::min(1e15, o.warmup_epochs * static_cast<double>(epoch_steps)));
}

std::optional<double> scheduled_momentum(const ScheduleOptions& o, int64_t step, int64_t total) {
  const ScheduleInfo& info = learning_rate_schedules().named(o.type);
  return info.momentum ? info.momentum(complete(o, info), step, total) : std::nullopt;
}

}  // namespace espalier

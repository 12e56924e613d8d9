#include "espalier/optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/bad_input.h"

namespace espalier {
namespace {

/// The rates of all steps, an epoch of `epoch_steps` each.
std::vector<double> rates(const ScheduleOptions& options, double lr, int64_t total, int64_t epoch_steps = 1) {
  std::vector<double> all;
  for (int64_t step = 0; step < total; ++step)
    all.push_back(learning_rate(options, lr, step, total, epoch_steps));
  return all;
}

void expect_rates(const std::vector<double>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-12) << "step " << i;
}

TEST(Schedule, Constant) { expect_rates(rates({}, 0.1, 3), {0.1, 0.1, 0.1}); }

// Recorded from torch.optim.lr_scheduler.

TEST(Schedule, StepAsPyTorch) {
  expect_rates(rates({.type = "step", .step_size = 2, .gamma = 0.3}, 0.1, 7),
               {0.1, 0.1, 0.03, 0.03, 0.009, 0.009, 0.0027});
}

TEST(Schedule, MultistepAsPyTorch) {
  expect_rates(rates({.type = "multistep", .gamma = 0.1, .milestones = {2, 5}}, 0.1, 7),
               {0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001});
}

TEST(Schedule, CosineAsPyTorch) {
  expect_rates(rates({.type = "cosine", .min_lr = 0.01}, 0.1, 8),
               {0.1, 0.0965745789630079, 0.08681980515339463, 0.07222075445642905, 0.055, 0.03777924554357096,
                0.023180194846605363, 0.013425421036992097});
}

TEST(Schedule, OneCycleAsPyTorch) {
  expect_rates(rates({.type = "onecycle"}, 0.1, 10),
               {0.0040000000000000036, 0.052000000000000005, 0.1, 0.09504846320134738, 0.0811745653949763,
                0.06112620219362893, 0.03887419780637107, 0.0188258346050237, 0.004951936798652629, 4e-07});
  expect_rates(rates({.type = "onecycle", .max_lr = 2.0, .pct_start = 0.5}, 0.1, 7),
               {0.08000000000000007, 0.7433436854000506, 1.8166563145999495, 1.9009692640269473,
                1.2225240438725786, 0.37651669210047395, 8e-06});
  expect_rates(rates({.type = "onecycle", .max_lr = 1.0}, 0.1, 3),
               {0.9944154354509117, 0.46263710266697505, 4e-06});
}

/// The momenta of all steps, -1 where the optimizer's own stays.
std::vector<double> momenta(const ScheduleOptions& options, int64_t total) {
  std::vector<double> all;
  for (int64_t step = 0; step < total; ++step)
    all.push_back(scheduled_momentum(options, step, total).value_or(-1));
  return all;
}

TEST(Schedule, OneCycleMovesTheMomentumAsPyTorch) {
  expect_rates(momenta({.type = "onecycle"}, 10),
               {0.95, 0.8999999999999999, 0.85, 0.854951556604879, 0.8688255099070633, 0.8888739533021842,
                0.9111260466978157, 0.9311744900929366, 0.945048443395121, 0.95});
  expect_rates(momenta({.type = "onecycle", .pct_start = 0.5}, 7),
               {0.95, 0.9154508497187474, 0.8595491502812526, 0.854951556604879, 0.8888739533021842,
                0.9311744900929366, 0.95});
  expect_rates(momenta({.type = "onecycle", .cycle_momentum = false}, 2), {-1, -1});
  expect_rates(momenta({.type = "cosine"}, 2), {-1, -1});
}

TEST(Schedule, OneCycleAtItsEdges) {
  expect_rates(rates({.type = "onecycle", .pct_start = 1.0}, 0.1, 3), {0.004, 0.052, 0.1});
  for (const int64_t total : {1, 2})
    for (const double start : {0.0, 0.3, 1.0})
      for (const double rate : rates({.type = "onecycle", .pct_start = start}, 0.1, total)) {
        EXPECT_TRUE(std::isfinite(rate));
        EXPECT_GT(rate, 0);
        EXPECT_LE(rate, 0.1);
      }
}

TEST(Schedule, DropsCountEpochsNotSteps) {
  expect_rates(rates({.type = "step", .step_size = 1, .gamma = 0.5}, 1.0, 6, 2),
               {1, 1, 0.5, 0.5, 0.25, 0.25});
  expect_rates(rates({.type = "multistep", .gamma = 0.5, .milestones = {1}}, 1.0, 6, 3),
               {1, 1, 1, 0.5, 0.5, 0.5});
}

TEST(Schedule, WarmupClimbsUnderAnyType) {
  expect_rates(rates({.type = "warmup", .warmup_steps = 4}, 1.0, 6), {0.25, 0.5, 0.75, 1, 1, 1});
  expect_rates(rates({.type = "step", .step_size = 1, .gamma = 0.5, .warmup_steps = 2}, 1.0, 4),
               {0.5, 0.5, 0.25, 0.125});
  expect_rates(rates({.type = "warmup", .warmup_epochs = 1.5}, 1.0, 6, 2), {1.0 / 3, 2.0 / 3, 1, 1, 1, 1});
  EXPECT_EQ(climb_steps({.warmup_epochs = 1.5}, 391), 587) << "586.5";
  const auto plain = rates({.type = "cosine"}, 1.0, 8),
             climbed = rates({.type = "cosine", .warmup_steps = 3}, 1.0, 8);
  EXPECT_DOUBLE_EQ(climbed[1], plain[1] * 2 / 3);
  EXPECT_EQ(climbed[3], plain[3]);
}

TEST(Schedule, EveryNameIsKnownAndNoOther) {
  for (const std::string& name : learning_rate_schedules().names())
    EXPECT_GT(learning_rate({.type = name}, 0.1, 0, 10, 5), 0) << name;
  EXPECT_EQ(message_of([] { learning_rate({.type = "cosin"}, 0.1, 0, 1, 1); }),
            "learning-rate schedule: no type 'cosin', did you mean 'cosine'?");
}

TEST(Schedule, OneOfAProgramsOwnIsAskedByName) {
  learning_rate_schedules().add(
      {.name = "poly",
       .help = "lr (1 - step / total)^power",
       .extra = {{.name = "power", .help = "the power", .value = 2.0, .from = 0}},
       .rate =
           [](const ScheduleOptions& o, double lr, int64_t step, int64_t total, int64_t) {
             const double rest = 1 - static_cast<double>(step) / static_cast<double>(total);
             return lr * std::pow(rest, o.extra.number("power"));
           },
       .momentum = [](const ScheduleOptions& o, int64_t,
                      int64_t) { return std::optional(o.extra.number("power") / 10); }});
  expect_rates(rates({.type = "poly"}, 1.0, 4), {1, 0.5625, 0.25, 0.0625});
  expect_rates(rates({.type = "poly", .warmup_steps = 2, .extra = {{"power", 1.0}}}, 1.0, 4),
               {0.5, 0.75, 0.5, 0.25});
  expect_rates(momenta({.type = "poly"}, 2), {0.2, 0.2});
  EXPECT_EQ(message_of([] {
              learning_rate({.type = "cosine", .extra = {{"power", 1.0}}}, 1, 0, 1, 1);
            }),
            "schedule cosine: no option 'power'");
  EXPECT_EQ(message_of([] { learning_rate_schedules().add({.name = "cosine", .help = "", .rate = {}}); }),
            "learning-rate schedule: 'cosine' is there already");
}

}  // namespace
}  // namespace espalier

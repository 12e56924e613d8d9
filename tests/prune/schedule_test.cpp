#include "espalier/prune/schedule.h"

#include <gtest/gtest.h>

#include "prune/hand_made.h"

namespace espalier {
namespace {

std::vector<int64_t> steps(const Schedule& schedule, int64_t until) {
  std::vector<int64_t> acting;
  for (int64_t step = 0; step <= until; ++step)
    if (schedule.acts_at(step)) acting.push_back(step);
  return acting;
}

TEST(Schedule, ActsFromBeginToEndWhateverEveryIs) {
  EXPECT_EQ(steps({.kind = Schedule::cubic, .begin = 10, .end = 30, .every = 10}, 60),
            (std::vector<int64_t>{10, 20, 30}));
  EXPECT_EQ(steps({.kind = Schedule::linear, .begin = 10, .end = 35, .every = 10}, 60),
            (std::vector<int64_t>{10, 20, 30, 35}));
  EXPECT_EQ(steps({.kind = Schedule::linear, .begin = 3, .end = 5, .every = 100}, 200),
            (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(steps({.kind = Schedule::cubic, .begin = 4, .end = 4}, 10), (std::vector<int64_t>{4}));
}

TEST(Schedule, OneShotActsOnceAtBegin) {
  const Schedule schedule{.kind = Schedule::one_shot, .begin = 5};
  EXPECT_EQ(steps(schedule, 20), (std::vector<int64_t>{5}));
  EXPECT_EQ(schedule.sparsity_at(4, 0.8), 0);
  EXPECT_EQ(schedule.sparsity_at(5, 0.8), 0.8);
}

TEST(Schedule, LinearByHand) {
  const Schedule schedule{.kind = Schedule::linear, .begin = 10, .end = 20};
  EXPECT_EQ(schedule.sparsity_at(9, 0.8), 0);
  EXPECT_EQ(schedule.sparsity_at(10, 0.8), 0);
  EXPECT_DOUBLE_EQ(schedule.sparsity_at(15, 0.8), 0.4);
  EXPECT_DOUBLE_EQ(schedule.sparsity_at(19, 0.8), 0.72);
}

TEST(Schedule, CubicByHand) {
  const Schedule schedule{.kind = Schedule::cubic, .begin = 100, .end = 300};
  EXPECT_EQ(schedule.sparsity_at(100, 0.8), 0);
  EXPECT_DOUBLE_EQ(schedule.sparsity_at(150, 0.8), 0.8 * (1 - 27.0 / 64));
  EXPECT_DOUBLE_EQ(schedule.sparsity_at(200, 0.8), 0.7);
  const Schedule later{.kind = Schedule::cubic, .begin = 100, .end = 300, .initial = 0.4};
  EXPECT_EQ(later.sparsity_at(0, 0.8), 0.4);
  EXPECT_DOUBLE_EQ(later.sparsity_at(100, 0.8), 0.4);
  EXPECT_DOUBLE_EQ(later.sparsity_at(200, 0.8), 0.75);
}

TEST(Schedule, NeverFallsAndEndsAtExactlyTheTarget) {
  for (const auto kind : {Schedule::linear, Schedule::cubic}) {
    const Schedule schedule{.kind = kind, .begin = 7, .end = 777, .every = 3};
    double before = 0;
    for (int64_t step = 0; step < 900; ++step) {
      const double now = schedule.sparsity_at(step, 0.95);
      ASSERT_GE(now, before) << step;
      before = now;
    }
    EXPECT_LT(schedule.sparsity_at(776, 0.95), 0.95);
    EXPECT_EQ(schedule.sparsity_at(777, 0.95), 0.95);
    EXPECT_EQ(schedule.sparsity_at(778, 0.95), 0.95);
  }
}

TEST(Schedule, OfASingleStepReachesTheTargetThere) {
  const Schedule schedule{.kind = Schedule::cubic, .begin = 4, .end = 4};
  EXPECT_EQ(schedule.sparsity_at(3, 0.8), 0);
  EXPECT_EQ(schedule.sparsity_at(4, 0.8), 0.8);
}

TEST(Schedule, SaysHowOftenItActs) {
  for (const int64_t every : {1, 3, 7, 20, 100}) {
    const Schedule schedule{.kind = Schedule::linear, .begin = 4, .end = 24, .every = every};
    EXPECT_EQ(schedule.times(), static_cast<int64_t>(steps(schedule, 60).size())) << every;
    EXPECT_EQ(schedule.last(), 24);
  }
  EXPECT_EQ((Schedule{.kind = Schedule::cubic, .begin = 4, .end = 4}).times(), 1);
  const Schedule once{.kind = Schedule::one_shot, .begin = 4, .end = 9};
  EXPECT_EQ(once.times(), 1);
  EXPECT_EQ(once.last(), 4);
}

TEST(StageLength, StepsByHand) {
  const StageLength stage{.epoch_steps = 391, .steps = 1000};
  EXPECT_EQ(stage.in_steps(7, TimeUnit::steps), 7);
  EXPECT_EQ(stage.in_steps(1.5, TimeUnit::epochs), 587) << "586.5";
  EXPECT_EQ(stage.in_steps(0.25, TimeUnit::share), 250);
  EXPECT_EQ(stage.step_at(0, TimeUnit::epochs), 0);
  EXPECT_EQ(stage.step_at(2, TimeUnit::epochs), 782);
  EXPECT_EQ(stage.step_at(999, TimeUnit::steps), 999);
  EXPECT_EQ(stage.step_at(1, TimeUnit::share), 999) << "the last step";
  EXPECT_EQ(message_of<UsageError>([&] { stage.step_at(1000, TimeUnit::steps); }),
            "prune.schedule: acts at step 1000, but the stage has steps 0 to 999");
  EXPECT_EQ(message_of<UsageError>([&] { stage.step_at(3, TimeUnit::epochs); }),
            "prune.schedule: acts at step 1173 (epoch 3), but the stage has steps 0 to 999");
  EXPECT_EQ((StageLength{.epoch_steps = 500, .steps = 1000}).step_at(2, TimeUnit::epochs), 999);
}

TEST(TimeUnit, NamesReadBack) {
  EXPECT_EQ(time_unit_names(), (std::vector<std::string>{"steps", "epochs", "share"}));
  EXPECT_EQ(time_unit_named("epochs"), TimeUnit::epochs);
  EXPECT_THROW(time_unit_named("epoch"), UsageError);
}

TEST(Schedule, NamesReadBack) {
  EXPECT_EQ(schedule_names(), (std::vector<std::string>{"one_shot", "linear", "cubic"}));
  EXPECT_EQ(schedule_named("one_shot"), Schedule::one_shot);
  EXPECT_EQ(schedule_named("linear"), Schedule::linear);
  EXPECT_EQ(schedule_named("cubic"), Schedule::cubic);
  EXPECT_THROW(schedule_named("quadratic"), UsageError);
}

TEST(Schedule, RefusesWhatNeverActs) {
  EXPECT_EQ(message_of<UsageError>([] { check({.kind = Schedule::cubic, .begin = -1, .end = 5}); }),
            "prune schedule: begins at step -1, expected 0 or later");
  EXPECT_EQ(message_of<UsageError>([] { check({.kind = Schedule::linear, .begin = 9, .end = 5}); }),
            "prune schedule: ends at step 5, before it begins at step 9");
  EXPECT_EQ(
      message_of<UsageError>([] { check({.kind = Schedule::cubic, .begin = 0, .end = 5, .every = 0}); }),
      "prune schedule: acts every 0 steps, expected 1 or more");
  EXPECT_NO_THROW(check({.kind = Schedule::one_shot, .begin = 5}));
}

}  // namespace
}  // namespace espalier

#include "espalier/prune/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

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
  EXPECT_EQ(steps({.type = "cubic", .begin = 10, .end = 30, .every = 10}, 60),
            (std::vector<int64_t>{10, 20, 30}));
  EXPECT_EQ(steps({.type = "linear", .begin = 10, .end = 35, .every = 10}, 60),
            (std::vector<int64_t>{10, 20, 30, 35}));
  EXPECT_EQ(steps({.type = "linear", .begin = 3, .end = 5, .every = 100}, 200), (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(steps({.type = "cubic", .begin = 4, .end = 4}, 10), (std::vector<int64_t>{4}));
}

TEST(Schedule, OneShotActsOnceAtBegin) {
  const Schedule schedule{.type = "one_shot", .begin = 5};
  EXPECT_EQ(steps(schedule, 20), (std::vector<int64_t>{5}));
  EXPECT_EQ(schedule.sparsity_at(4, 0.8), 0);
  EXPECT_EQ(schedule.sparsity_at(5, 0.8), 0.8);
}

TEST(Schedule, LinearByHand) {
  const Schedule schedule{.type = "linear", .begin = 10, .end = 20};
  EXPECT_EQ(schedule.sparsity_at(9, 0.8), 0);
  EXPECT_EQ(schedule.sparsity_at(10, 0.8), 0);
  EXPECT_DOUBLE_EQ(schedule.sparsity_at(15, 0.8), 0.4);
  EXPECT_DOUBLE_EQ(schedule.sparsity_at(19, 0.8), 0.72);
}

TEST(Schedule, CubicByHand) {
  const Schedule schedule{.type = "cubic", .begin = 100, .end = 300};
  EXPECT_EQ(schedule.sparsity_at(100, 0.8), 0);
  EXPECT_DOUBLE_EQ(schedule.sparsity_at(150, 0.8), 0.8 * (1 - 27.0 / 64));
  EXPECT_DOUBLE_EQ(schedule.sparsity_at(200, 0.8), 0.7);
  const Schedule later{.type = "cubic", .begin = 100, .end = 300, .initial = 0.4};
  EXPECT_EQ(later.sparsity_at(0, 0.8), 0.4);
  EXPECT_DOUBLE_EQ(later.sparsity_at(100, 0.8), 0.4);
  EXPECT_DOUBLE_EQ(later.sparsity_at(200, 0.8), 0.75);
}

TEST(Schedule, ExponentialByHand) {
  const Schedule schedule{.type = "exponential", .begin = 100, .end = 300};
  EXPECT_EQ(schedule.sparsity_at(100, 0.8), 0);
  EXPECT_NEAR(schedule.sparsity_at(200, 0.8), 0.8 * 10 / 11, 1e-12) << "(0.1 - 0.01) / 0.99 are left";
  const Schedule later{.type = "exponential", .begin = 100, .end = 300, .initial = 0.4};
  EXPECT_EQ(later.sparsity_at(100, 0.8), 0.4);
  EXPECT_NEAR(later.sparsity_at(200, 0.8), 0.8 - 0.4 / 11, 1e-12);
}

TEST(Schedule, CosineByHand) {
  const Schedule schedule{.type = "cosine", .begin = 100, .end = 400};
  EXPECT_EQ(schedule.sparsity_at(100, 0.8), 0);
  EXPECT_NEAR(schedule.sparsity_at(200, 0.8), 0.2, 1e-12) << "(1 + cos(60 degrees)) / 2 is left";
  EXPECT_NEAR(schedule.sparsity_at(250, 0.8), 0.4, 1e-12);
  const Schedule later{.type = "cosine", .begin = 100, .end = 400, .initial = 0.4};
  EXPECT_EQ(later.sparsity_at(100, 0.8), 0.4);
  EXPECT_NEAR(later.sparsity_at(300, 0.8), 0.7, 1e-12);
}

TEST(Schedule, GeometricByHand) {
  const Schedule schedule{.type = "geometric", .begin = 100, .end = 400};
  EXPECT_EQ(schedule.sparsity_at(100, 0.992), 0);
  EXPECT_NEAR(schedule.sparsity_at(200, 0.992), 0.8, 1e-12) << "of 0.008 the third root is 0.2";
  EXPECT_NEAR(schedule.sparsity_at(300, 0.992), 0.96, 1e-12);
  EXPECT_EQ(schedule.sparsity_at(400, 0.992), 0.992);
  const Schedule later{.type = "geometric", .begin = 0, .end = 2, .initial = 0.6};
  EXPECT_NEAR(later.sparsity_at(1, 0.9), 0.8, 1e-12) << "half of 0.4 is left, then half of 0.2";
  EXPECT_EQ((Schedule{.type = "geometric", .begin = 0, .end = 2, .initial = 0.9}).sparsity_at(1, 0.9), 0.9);
}

TEST(Schedule, TableIsWhatItsRowsSay) {
  const Schedule schedule{.type = "table", .begin = 5, .end = 30, .table = {{5, 0.2}, {6, 0.2}, {30, 0.9}}};
  check(schedule);
  EXPECT_EQ(steps(schedule, 60), (std::vector<int64_t>{5, 6, 30}));
  EXPECT_EQ(schedule.sparsity_at(4, 0.9), 0);
  EXPECT_EQ(schedule.sparsity_at(5, 0.9), 0.2);
  EXPECT_EQ(schedule.sparsity_at(29, 0.9), 0.2);
  EXPECT_EQ(schedule.sparsity_at(30, 0.9), 0.9);
  EXPECT_EQ(schedule.sparsity_at(1000, 0.9), 0.9);
  EXPECT_EQ(schedule.last(), 30);
  EXPECT_EQ(schedule.times(), 3);
  EXPECT_FALSE(schedule.is_at_once());
  EXPECT_FALSE(schedule.gives_back());
}

TEST(Schedule, ATableThatIsNoneIsRefused) {
  const auto message = [](const std::vector<std::pair<int64_t, double>>& table) {
    return message_of<UsageError>([&] { check({.type = "table", .table = table}); });
  };
  EXPECT_EQ(message({}), "prune schedule: table has no rows");
  EXPECT_EQ(message({{4, 0.1}, {4, 0.2}}),
            "prune schedule: table has step 4 after step 4, expected a later one in each row");
  EXPECT_EQ(message({{4, 0.3}, {5, 0.2}}),
            "prune schedule: table falls from 0.3 to 0.2 at step 5, and what is pruned is not given back");
  EXPECT_EQ(message({{4, 0.3}, {5, 1.2}}), "prune schedule: table has sparsity 1.2 at step 5, expected 0..1");
  EXPECT_EQ(message({{-1, 0.3}}), "prune schedule: table begins at step -1, expected 0 or later");
}

TEST(Schedule, AlternatingByHand) {
  // Phases 10, 14, 18, 22, 26: dense, sparse, dense, sparse, and the last, which is sparse whatever its
  // number.
  const Schedule odd{.type = "alternating", .begin = 10, .end = 28, .every = 4};
  check(odd);
  EXPECT_EQ(steps(odd, 60), (std::vector<int64_t>{10, 14, 18, 22}));
  for (const int64_t step : {10, 13, 18, 21}) EXPECT_EQ(odd.sparsity_at(step, 0.9), 0) << step;
  for (const int64_t step : {14, 17, 22, 25, 26, 28, 99}) EXPECT_EQ(odd.sparsity_at(step, 0.9), 0.9) << step;
  EXPECT_TRUE(odd.lets_go_at(10) && odd.lets_go_at(18));
  for (const int64_t step : {9, 11, 14, 22, 26, 28}) EXPECT_FALSE(odd.lets_go_at(step)) << step;
  EXPECT_EQ(odd.last(), 22);
  EXPECT_EQ(odd.times(), 4);
  EXPECT_TRUE(odd.gives_back());
  const Schedule even{.type = "alternating", .begin = 0, .end = 16, .every = 4};  // 0, 4, 8, 12
  EXPECT_EQ(steps(even, 60), (std::vector<int64_t>{0, 4, 8, 12}));
  EXPECT_EQ(even.last(), 12);
  const Schedule two{.type = "alternating", .begin = 0, .end = 5, .every = 3};
  EXPECT_EQ(steps(two, 60), (std::vector<int64_t>{0, 3}));
  EXPECT_EQ(message_of<UsageError>([] { check({.type = "alternating", .begin = 2, .end = 8, .every = 6}); }),
            "prune schedule: alternating has one phase, of 6 steps, which is the last, and sparse: expected "
            "'every' below 6");
}

TEST(Schedule, AlternatingEndsSparseWhateverItsPhases) {
  for (int64_t every = 1; every < 20; ++every) {
    const Schedule schedule{.type = "alternating", .begin = 3, .end = 23, .every = every};
    EXPECT_EQ(schedule.sparsity_at(22, 0.9), 0.9) << every;
    EXPECT_FALSE(schedule.lets_go_at(schedule.last())) << every;
    EXPECT_LE(schedule.last(), schedule.end) << every;
  }
}

TEST(Schedule, NeverFallsAndEndsAtExactlyTheTarget) {
  for (const PruneScheduleInfo& info : prune_schedules()) {
    if (!info.left && !info.between) continue;
    SCOPED_TRACE(info.name);
    const Schedule schedule{.type = info.name, .begin = 7, .end = 777, .every = 3, .initial = 0.1};
    EXPECT_EQ(schedule.sparsity_at(7, 0.95), 0.1);
    double before = 0.1;
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
  const Schedule schedule{.type = "cubic", .begin = 4, .end = 4};
  EXPECT_EQ(schedule.sparsity_at(3, 0.8), 0);
  EXPECT_EQ(schedule.sparsity_at(4, 0.8), 0.8);
}

TEST(Schedule, SaysHowOftenItActs) {
  for (const int64_t every : {1, 3, 7, 20, 100}) {
    const Schedule schedule{.type = "linear", .begin = 4, .end = 24, .every = every};
    EXPECT_EQ(schedule.times(), static_cast<int64_t>(steps(schedule, 60).size())) << every;
    EXPECT_EQ(schedule.last(), 24);
  }
  EXPECT_EQ((Schedule{.type = "cubic", .begin = 4, .end = 4}).times(), 1);
  const Schedule once{.type = "one_shot", .begin = 4, .end = 9};
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
  EXPECT_TRUE(message_of<UsageError>([&] {
                stage.step_at(1000, TimeUnit::steps, "train.regrow");
              }).starts_with("train.regrow: acts at step 1000"));
  EXPECT_EQ(message_of<UsageError>([&] { stage.step_at(3, TimeUnit::epochs); }),
            "prune.schedule: acts at step 1173 (epoch 3), but the stage has steps 0 to 999");
  EXPECT_EQ((StageLength{.epoch_steps = 500, .steps = 1000}).step_at(2, TimeUnit::epochs), 999);
}

TEST(TimeUnit, NamesReadBack) {
  EXPECT_EQ(time_unit_names(), (std::vector<std::string>{"steps", "epochs", "share"}));
  EXPECT_EQ(time_unit_named("epochs"), TimeUnit::epochs);
  EXPECT_THROW(time_unit_named("epoch"), UsageError);
}

TEST(Schedule, IsKnownByName) {
  const std::string message = "schedule of sparsity: no type 'cubc', did you mean 'cubic'?";
  EXPECT_EQ(message_of<UsageError>([] { check({.type = "cubc", .begin = 0, .end = 5}); }), message);
  EXPECT_EQ(message_of<UsageError>([] { (Schedule{.type = "cubc"}).sparsity_at(0, 1); }), message);
}

TEST(Schedule, OneOfAProgramsOwnIsAskedByName) {
  prune_schedules().add(
      {.name = "power",
       .help = "(1 - p)^power",
       .extra = {{.name = "power", .help = "the power", .value = 2.0, .from = 0}},
       .left = [](double rest, const ExtraOptions& extra) { return std::pow(rest, extra.number("power")); }});
  const Schedule square{.type = "power", .begin = 0, .end = 4},
      root{.type = "power", .begin = 0, .end = 4, .extra = {{"power", 0.5}}};
  EXPECT_NEAR(square.sparsity_at(2, 0.8), 0.8 * 0.75, 1e-12);
  EXPECT_NEAR(root.sparsity_at(3, 0.8), 0.8 * 0.5, 1e-12);
  EXPECT_EQ(square.last(), 4);
  EXPECT_EQ(message_of([] { prune_schedules().add({.name = "cubic", .help = ""}); }),
            "schedule of sparsity: 'cubic' is there already");
}

TEST(Schedule, RefusesWhatNeverActs) {
  EXPECT_EQ(message_of<UsageError>([] { check({.type = "cubic", .begin = -1, .end = 5}); }),
            "prune schedule: begins at step -1, expected 0 or later");
  EXPECT_EQ(message_of<UsageError>([] { check({.type = "linear", .begin = 9, .end = 5}); }),
            "prune schedule: ends at step 5, before it begins at step 9");
  EXPECT_EQ(message_of<UsageError>([] { check({.type = "cubic", .begin = 0, .end = 5, .every = 0}); }),
            "prune schedule: acts every 0 steps, expected 1 or more");
  EXPECT_NO_THROW(check({.type = "one_shot", .begin = 5}));
}

}  // namespace
}  // namespace espalier

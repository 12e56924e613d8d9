#include "espalier/core/cpu/plan_cache.h"

#include <gtest/gtest.h>

#include "support/threads.h"

namespace espalier::cpu::plan_cache_test {
namespace {

/// Plans are numbered in the order in which they are made.
struct Numbered {
  int& get(int64_t a, int64_t b) {
    return cache.get({a, b}, [&] { return made++; });
  }

  PlanCache<int, 2> cache;
  int made = 0;
};

TEST(PlanCache, MakesAPlanOnceAKey) {
  const WithThreads one(1);
  Numbered plans;
  EXPECT_EQ(plans.get(1, 2), 0);
  EXPECT_EQ(plans.get(1, 2), 0) << "the last one";
  EXPECT_EQ(plans.get(2, 1), 1);
  EXPECT_EQ(plans.get(1, 3), 2);
  EXPECT_EQ(plans.get(1, 2), 0) << "one before the last";
  EXPECT_EQ(plans.get(2, 1), 1);
  EXPECT_EQ(plans.made, 3);
}

TEST(PlanCache, KeepsAPlanForEachNumberOfThreads) {
  Numbered plans;
  for (int round = 0; round < 2; ++round)
    for (const int count : {1, 2, 3}) {
      const WithThreads some(count);
      EXPECT_EQ(plans.get(7, 7), count - 1);
    }
  EXPECT_EQ(plans.made, 3);
}

TEST(PlanCache, LeavesPlansWhereTheyAreAsItGrows) {
  const WithThreads one(1);
  Numbered plans;
  const int* const first = &plans.get(0, 0);
  for (int64_t i = 1; i < 1000; ++i) plans.get(i, -i);
  EXPECT_EQ(&plans.get(0, 0), first);
  EXPECT_EQ(plans.made, 1000);
}

TEST(PlanCache, HoldsSoManyAndTheLeastRecentlyUsedGoesFirst) {
  const WithThreads one(1);
  Numbered plans{.cache = PlanCache<int, 2>(3)};
  for (const int64_t i : {0, 1, 2, 0, 3}) plans.get(i, 0);  // 1 goes
  EXPECT_EQ(plans.get(0, 0), 0);
  EXPECT_EQ(plans.get(2, 0), 2);
  EXPECT_EQ(plans.get(3, 0), 3);
  EXPECT_EQ(plans.get(1, 0), 4) << "made again, and 0 goes";
  EXPECT_EQ(plans.get(2, 0), 2);
  EXPECT_EQ(plans.get(0, 0), 5);
}

TEST(PlanCache, DropsWhatNothingUsedBetweenTwoChangesOfShapes) {
  const WithThreads one(1);
  Numbered plans;
  for (const int64_t i : {0, 1, 2}) plans.get(i, 0);
  shapes_changed();
  EXPECT_EQ(plans.get(0, 0), 0);
  EXPECT_EQ(plans.get(1, 0), 1);
  shapes_changed();
  EXPECT_EQ(plans.get(1, 0), 1);
  EXPECT_EQ(plans.get(2, 0), 3) << "made again: nothing asked for it between the two";
  EXPECT_EQ(plans.get(0, 0), 0);
  shapes_changed();
  shapes_changed();
  EXPECT_EQ(plans.get(0, 0), 4);
}

}  // namespace
}  // namespace espalier::cpu::plan_cache_test

#include "espalier/core/cpu/plan_cache.h"

#include <gtest/gtest.h>

#include "support/threads.h"

namespace espalier::cpu {
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

}  // namespace
}  // namespace espalier::cpu

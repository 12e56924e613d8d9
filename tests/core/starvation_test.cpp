#include "espalier/core/starvation.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "support/bad_input.h"

namespace espalier::starvation_test {
namespace {

TEST(Starvation, IsSaidWhereThreadsWaitLongerThanTheyCompute) {
  EXPECT_EQ(starvation_warning({.worked = 1.0, .waited = 0.9}, 2), "");
  EXPECT_EQ(starvation_warning({.worked = 0.001, .waited = 0.01}, 2), "") << "too little to say";
  EXPECT_EQ(starvation_warning({.worked = 0.0, .waited = 1.0}, 1), "");
  EXPECT_EQ(starvation_warning({.worked = 1.0, .waited = 3.0}, 8),
            "warning: threads wait longer for each other than they compute (75 % of the time of what 8 "
            "share): other "
            "processes use this machine's processors, or there are fewer of them; --threads 2 may be faster");
  EXPECT_TRUE(contains(starvation_warning({.worked = 1.0, .waited = 9.0}, 2), "--threads 1 "));
}

TEST(Starvation, ThePoolSamplesWhatItsCallerWaitsFor) {
  ThreadPool& pool = *new ThreadPool(nullptr);  // its thread uses it to the end
  const auto body = [](const void*, int part) {
    if (part == 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  for (int region = 0; region < 122; ++region) pool.run(2, body, nullptr);
  const RegionTimes times = pool.times();  // of the 61st and the 122nd
  EXPECT_GE(times.waited, 0.0019);
  EXPECT_LT(times.worked, times.waited);
}

}  // namespace
}  // namespace espalier::starvation_test

#include "espalier/core/measure.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "support/threads.h"

namespace espalier {
namespace {

TEST(Measure, RandomTensorsAreAFunctionOfTheirKey) {
  const Tensor a = random_tensor({3, 5}, 1), b = random_tensor({3, 5}, 1), c = random_tensor({3, 5}, 2);
  EXPECT_TRUE(std::ranges::equal(a.span<float>(), b.span<float>()));
  EXPECT_FALSE(std::ranges::equal(a.span<float>(), c.span<float>()));
  for (const float value : a.span<float>()) EXPECT_TRUE(value >= -0.5f && value < 0.5f) << value;
}

TEST(Measure, UndisturbedIsTheTenthPercentile) {
  EXPECT_EQ(undisturbed({3}), 3);
  EXPECT_EQ(undisturbed({9, 2, 7}), 2);
  std::vector<double> times;
  for (int i = 0; i < 100; ++i) times.push_back(37 * i % 100);
  EXPECT_EQ(undisturbed(times), 10);
}

TEST(Measure, ARaceTakesTurns) {
  std::string order;
  const auto best = race({[&] { order += 'a'; }, [&] { order += 'b'; }}, 0.0);
  EXPECT_EQ(order, "ababab");
  ASSERT_EQ(best.size(), 2u);
  EXPECT_GE(best[0], 0.0);
  EXPECT_LT(best[0], 1000.0);
}

TEST(Measure, PeaksAreOfThisMachine) {
  const WithThreads two(2);
  const double gflops = peak_gflops(20), gigabytes = peak_gigabytes(20);
  EXPECT_TRUE(gflops > 0.1 && gflops < 1e5) << gflops;
  EXPECT_TRUE(gigabytes > 0.1 && gigabytes < 1e4) << gigabytes;
}

}  // namespace
}  // namespace espalier

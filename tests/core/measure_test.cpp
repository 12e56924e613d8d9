#include "espalier/core/measure.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "support/threads.h"

namespace espalier::measure_test {
namespace {

TEST(Measure, RandomTensorsAreAFunctionOfTheirKey) {
  const Tensor a = random_operand({3, 5}, 1), b = random_operand({3, 5}, 1), c = random_operand({3, 5}, 2);
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

/// A machine on which something takes `ms`, times how slow it is by then; it says how long it was at work.
struct SharedMachine {
  double now = 0;
  std::function<double(double)> slowness_at = [](double) { return 1.0; };
  std::function<double()> thing(double ms) {
    return [this, ms] {
      const double took = ms * slowness_at(now);
      now += took;
      return took;
    };
  }
};

TEST(Measure, APairIsComparedOnTheSameMachineWhateverBecomesOfIt) {
  const auto found = [](std::function<double(double)> slowness_at) {
    SharedMachine machine{.slowness_at = std::move(slowness_at)};
    return paired(machine.thing(4.4), machine.thing(1), 600);
  };
  const PairedTimes calm = found([](double) { return 1.0; });
  EXPECT_EQ(calm.first, 4.4);
  EXPECT_EQ(calm.second, 1);
  // Another program comes, goes, comes and goes, or makes it slower and slower.
  const auto comes = [](double ms) { return ms < 190 ? 1.0 : 7.0; };
  const auto goes = [](double ms) { return ms < 190 ? 7.0 : 1.0; };
  const auto both = [](double ms) { return static_cast<int>(ms / 47) % 2 == 0 ? 1.0 : 3.0; };
  const auto creeps = [](double ms) { return 1 + ms / 200; };
  for (const auto& slowness_at : std::vector<std::function<double(double)>>{comes, goes, both, creeps}) {
    const PairedTimes pair = found(slowness_at);
    EXPECT_NEAR(pair.speedup(), 4.4, 0.4);
    EXPECT_NEAR(pair.second, 1, 0.5) << "undisturbed";
    EXPECT_EQ(pair.speedup(), pair.first / pair.second);
  }
}

TEST(Measure, OfFewRoundsTheRatioIsTheMedianToo) {
  const std::vector<double> seconds{90, 200, 100, 99, 200};  // of its rounds; the first always takes 100
  int calls = 0, runs = 0;
  const auto first = [&] {
    ++runs;
    return 100.0;
  };
  const auto second = [&] {  // once for what happens once; then each round's is the second of two
    const size_t round = calls == 0 ? 0 : static_cast<size_t>(calls - 1) / 2;
    ++calls;
    return seconds.at(round);
  };
  EXPECT_EQ(paired(first, second, 0).second, 99) << "of 90, 99 and 100";
  EXPECT_EQ(runs, 1 + 5 * 2) << "five rounds";
}

TEST(Measure, APairTakesAsLongAsItMay) {
  for (const double ms : {1e-3, 0.1, 5.0}) {
    SharedMachine machine;
    paired(machine.thing(ms), machine.thing(ms), 600);
    EXPECT_LT(machine.now, 650);
  }
  SharedMachine machine;
  paired(machine.thing(400), machine.thing(100), 600);
  EXPECT_LE(machine.now, 500 + 5 * 2 * 500) << "and rounds enough of what takes longer";
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
}  // namespace espalier::measure_test

#include "espalier/core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace espalier::random_test {
namespace {

TEST(Random, MixesAsSplitMix64) {
  const uint64_t golden = 0x9E3779B97F4A7C15u;
  EXPECT_EQ(mix64(golden), 0xE220A8397B1DCDAFu) << "the generator's first number from seed 0, as published";
  EXPECT_EQ(mix64(1234567 + golden), 6457827717110365317u);
  EXPECT_EQ(mix64(1234567 + 2 * golden), 3203168211198807973u);
}

// Computed by a script of a few lines from the header's comments.
TEST(Random, KnownNumbers) {
  EXPECT_EQ(random_bits(0, 0), 0xA706DD2F4D197E6Fu);
  EXPECT_EQ(random_bits(0, 1), 0xB382A305F4414F5Eu);
  EXPECT_EQ(random_bits(1, 0), 0x5E41AB087439611Eu);
  EXPECT_EQ(random_bits(UINT64_MAX, UINT64_MAX), 0x445018E305810B78u);
  EXPECT_EQ(random_key(0, 0), 0x4B934666FD23015u);
  EXPECT_EQ(random_key(5, 7), 0x90C6B23B5559B829u);
  EXPECT_EQ(random_uniform(3, 0), 0.7375181317329407f);
  EXPECT_EQ(random_uniform(3, 3), 0.7937846779823303f);
  const int64_t below[] = {7, 5, 6, 7, 7, 6, 9, 8};
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(random_below(3, i, 10), below[i]);
  EXPECT_DOUBLE_EQ(box_muller(0.5f, 0.125f), 0.8325546111576978) << "sqrt(2 ln 2) cos(pi / 4)";
  EXPECT_EQ(random_permutation(42, 10), (std::vector<int64_t>{4, 2, 6, 9, 3, 0, 8, 5, 1, 7}));
}

TEST(Random, UniformIsUniform) {
  const int n = 100000;
  double sum = 0, squares = 0;
  int tenths[10] = {};
  for (uint64_t i = 0; i < n; ++i) {
    const float u = random_uniform(9, i);
    ASSERT_GE(u, 0.0f);
    ASSERT_LT(u, 1.0f);
    sum += u;
    squares += static_cast<double>(u) * u;
    ++tenths[static_cast<int>(u * 10)];
  }
  EXPECT_NEAR(sum / n, 0.5, 4 * std::sqrt(1.0 / 12 / n));
  EXPECT_NEAR(squares / n, 1.0 / 3, 4 * std::sqrt(4.0 / 45 / n));
  for (const int count : tenths) EXPECT_NEAR(count, n / 10, 4 * std::sqrt(n * 0.09));
}

TEST(Random, StreamsAreIndependent) {
  const int n = 20000;
  for (const auto& [a, b] :
       {std::pair{random_key(0, 0), random_key(0, 1)}, std::pair{random_key(0, 0), random_key(1, 0)},
        std::pair{uint64_t{0}, uint64_t{1}}}) {
    double product = 0;
    for (uint64_t i = 0; i < n; ++i) product += (random_uniform(a, i) - 0.5) * (random_uniform(b, i) - 0.5);
    EXPECT_NEAR(product / n, 0, 4 / 12.0 / std::sqrt(n));
  }
}

TEST(Random, BelowStaysBelow) {
  for (const int64_t n : {1, 2, 3, 1000})
    for (uint64_t i = 0; i < 1000; ++i) {
      ASSERT_GE(random_below(1, i, n), 0);
      ASSERT_LT(random_below(1, i, n), n);
    }
}

TEST(Random, PermutationHasEachNumberOnce) {
  EXPECT_TRUE(random_permutation(1, 0).empty());
  EXPECT_EQ(random_permutation(1, 1), std::vector<int64_t>{0});
  auto order = random_permutation(7, 1001);
  EXPECT_NE(order, random_permutation(8, 1001));
  EXPECT_EQ(order, random_permutation(7, 1001));
  std::ranges::sort(order);
  for (int64_t i = 0; i < 1001; ++i) ASSERT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(Random, EveryPermutationIsAsLikely) {
  int counts[24] = {};
  const int n = 24000;
  for (uint64_t key = 0; key < n; ++key) {
    const auto p = random_permutation(random_key(3, key), 4);
    const int64_t code = p[0] * 6 + (p[1] - (p[1] > p[0])) * 2 + (p[2] > p[3]);
    ++counts[code];
  }
  for (const int count : counts) EXPECT_NEAR(count, n / 24, 4.5 * std::sqrt(n / 24));
}

}  // namespace
}  // namespace espalier::random_test

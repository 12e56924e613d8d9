#include <gtest/gtest.h>

#include <limits>

#include "espalier/core/kernels.h"
#include "support/rows.h"
#include "support/threads.h"

namespace espalier::softmax_test {
namespace {

Floats softmax(const Floats& x, int64_t c) {
  Floats y(x.size(), 9.0f);
  cpu::softmax_forward(y.data(), x.data(), {static_cast<int64_t>(x.size()) / c, c});
  return y;
}

TEST(Softmax, AgainstDouble) {
  const WithThreads three(3);
  for (const int64_t c : {1, 2, 7, 15, 16, 17, 33, 65, 1001})
    for (const int64_t rows : {1, 7, 500})
      for (const double offset : {0.0, 1e3, -1e3}) {
        SCOPED_TRACE(testing::Message() << rows << "x" << c << " about " << offset);
        const NormShape s{rows, c};
        const Floats x = random_floats(rows * c, 1, offset - 8, offset + 8), dy = random_floats(rows * c, 2);
        const Doubles expected = softmax_formula(doubles(x), static_cast<size_t>(c));
        const Floats y = softmax(x, c);
        EXPECT_TRUE(near(y, expected, 1e-6));
        check_output(softmax_backward_formula(doubles(dy), expected, static_cast<size_t>(c)), 2e-6,
                     [&](float* dx, bool add) { cpu::softmax_backward(dx, dy.data(), y.data(), s, add); });
      }
}

TEST(Softmax, ItsGradientMayTakeTheMemoryOfWhatCameIn) {
  const NormShape s{5, 37};
  const Floats y = softmax(random_floats(185, 1), 37), dy = random_floats(185, 2);
  Floats dx(185), spent = dy;
  cpu::softmax_backward(dx.data(), dy.data(), y.data(), s, false);
  cpu::softmax_backward(spent.data(), spent.data(), y.data(), s, false);
  EXPECT_TRUE(same_bits(dx, spent));
}

TEST(Softmax, WhatIsRuledOutIsZeroAndNaNShowsInTheWholeRow) {
  const float infinity = std::numeric_limits<float>::infinity(),
              nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(softmax({1, -infinity, 1}, 3), (Floats{0.5f, 0.0f, 0.5f}));
  for (const float bad : {nan, infinity})
    for (const size_t place : {0, 8, 19}) {
      Floats x = random_floats(40, 1);
      x[place] = bad;
      const Floats y = softmax(x, 20);
      for (size_t k = 0; k < 20; ++k) ASSERT_TRUE(std::isnan(y[k])) << bad << " at " << place << ", " << k;
      for (size_t k = 20; k < 40; ++k) ASSERT_FALSE(std::isnan(y[k])) << "another row";
    }
}

}  // namespace
}  // namespace espalier::softmax_test

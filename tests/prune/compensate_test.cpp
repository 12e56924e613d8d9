#include "espalier/prune/compensate.h"

#include <gtest/gtest.h>

#include <numeric>

#include "support/numbers.h"

namespace espalier {
namespace {

/// U'U of an upper triangle.
Doubles squared(const Doubles& u, int64_t n) {
  Doubles product(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t k = 0; k < n; ++k)
        product[static_cast<size_t>(i * n + j)] +=
            u[static_cast<size_t>(k * n + i)] * u[static_cast<size_t>(k * n + j)];
  return product;
}

TEST(Compensate, FactorIsThatOfTheInverse) {
  constexpr int64_t n = 150;
  const Floats x = random_floats(n * 200, 4);
  Doubles h(n * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t r = 0; r < 200; ++r) h[i * n + j] += double{x[r * n + i]} * x[r * n + j];
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) mean += h[i * n + i] / n;
  Doubles u = h;
  factor_of_inverse(u.data(), n, 0.01);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < i; ++j) ASSERT_EQ(u[i * n + j], 0) << "below the diagonal";
  for (int64_t i = 0; i < n; ++i) h[i * n + i] += 0.01 * mean;
  const Doubles inverse = squared(u, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < n; ++k) sum += h[i * n + k] * inverse[k * n + j];
      ASSERT_NEAR(sum, i == j, 1e-9) << i << ", " << j;
    }
}

TEST(Compensate, WithoutInputsTheDiagonalIsOne) {
  Doubles u(4);
  factor_of_inverse(u.data(), 2, 0);
  EXPECT_EQ(u, (Doubles{1, 0, 0, 1}));
}

/// What is solved, and the answer.
struct Solved {
  Doubles w;
  std::vector<uint8_t> kept;

  Solved(void (*solve)(LayerToSolve&), Doubles weights, std::vector<uint8_t> verdicts, int64_t outputs,
         const SignalMatrices& matrices, const Unit& unit = Unit::weight, std::vector<char> before = {},
         std::vector<int64_t> line = {})
      : w(std::move(weights)), kept(std::move(verdicts)) {
    before.resize(w.size());
    const int64_t inputs = static_cast<int64_t>(w.size()) / outputs;
    if (line.empty()) {
      line.resize(static_cast<size_t>(inputs));
      std::iota(line.begin(), line.end(), 0);
    }
    LayerToSolve layer{w, kept, before, outputs, inputs, line, unit, matrices};
    solve(layer);
  }
};

/// F^-1 = [2 1; 1 4] of weights 3 and 5, and 2 of the third alone. Without the first the second moves by
/// -3 / 2 x 1.
TEST(Compensate, ABlockMakesUpForWhatGoes) {
  const SignalMatrices inverse{2, {2, 1, 1, 4, 2, 0, 0, 0}};
  const Solved one(solve_blocks, {3, 5, 7}, {0, 1, 1}, 1, inverse);
  EXPECT_EQ(one.w, (Doubles{0, 3.5, 7}));
  const Solved both(solve_blocks, {3, 5, 7}, {0, 0, 0}, 1, inverse);
  EXPECT_EQ(both.w, (Doubles{0, 0, 0}));
  const Solved second(solve_blocks, {3, 5, 7}, {1, 0, 1}, 1, inverse);
  EXPECT_EQ(second.w, (Doubles{3 - 5.0 / 4, 0, 7}));
}

/// U = [1 2 0; 0 1 -1; 0 0 2] for two rows. The scores w^2 / U_jj^2 of 1 4 2 are 1 16 1, of 3 1 8 are 9 1 16:
/// of six, three go, which are the first and the third of row 0 and the second of row 1, before anything
/// moves. Row 0: error 1, so the second becomes 4 - 2 = 2 and the third stays 2, and goes. Row 1: error 1,
/// the third becomes 8 + 1 = 9.
TEST(Compensate, ColumnAfterColumnMakesUpForWhatIsLost) {
  const SignalMatrices u{3, {1, 2, 0, 0, 1, -1, 0, 0, 2}};
  const Solved solved(solve_columns, {1, 4, 2, 3, 1, 8}, {0, 1, 0, 1, 0, 1}, 2, u);
  EXPECT_EQ(solved.kept, (std::vector<uint8_t>{0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(solved.w, (Doubles{0, 2, 0, 3, 0, 9}));
}

/// 1:2 along four inputs: what the third and fourth have become decides, 5 - 6 = -1 and 2.
TEST(Compensate, OfNOfMTheWeightsAsTheyAreByThenDecide) {
  const SignalMatrices u{4, {1, 0, 6, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}};
  const Solved solved(solve_columns, {1, 3, 5, 2}, {1, 1, 1, 1}, 1, u, Unit::n_of(1, 2));
  EXPECT_EQ(solved.kept, (std::vector<uint8_t>{0, 1, 0, 1}));
  EXPECT_EQ(solved.w, (Doubles{0, 3, 0, 2}));
}

/// The same of two pixels of two channels, in memory by pixel and in files by channel: what was the second of
/// the four lies third there.
TEST(Compensate, NOfMGoesAlongTheFilesOrder) {
  const SignalMatrices u{4, {1, 0, 6, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}};
  const Solved solved(solve_columns, {1, 5, 3, 2}, {1, 1, 1, 1}, 1, u, Unit::n_of(1, 2), {}, {0, 2, 1, 3});
  EXPECT_EQ(solved.kept, (std::vector<uint8_t>{0, 0, 1, 1}));
  EXPECT_EQ(solved.w, (Doubles{0, 0, 3, 2}));
}

TEST(Compensate, WhatWasPrunedBeforeGoesAgain) {
  const SignalMatrices u{3, {1, 0, 0, 0, 1, 0, 0, 0, 1}};
  const Solved solved(solve_columns, {0, 2, 3}, {0, 0, 1}, 1, u, Unit::weight, {1, 0, 0});
  EXPECT_EQ(solved.kept, (std::vector<uint8_t>{0, 0, 1}));
}

/// The second input was never other than 0: its weights, large as they are, are worth nothing.
TEST(Compensate, WhatNoInputReachesGoesFirst) {
  const SignalMatrices u{3, {1, 0, 0, 0, 1, 0, 0, 0, 1}, {0, 1, 0}};
  const Solved solved(solve_columns, {1, 9, 3, 2, 8, 4}, {0, 1, 1, 0, 1, 1}, 2, u);
  EXPECT_EQ(solved.kept, (std::vector<uint8_t>{1, 0, 1, 1, 0, 1}));
  const Solved in_line(solve_columns, {1, 9, 3, 2}, {1, 1, 1, 1}, 2, {2, {1, 0, 0, 1}, {0, 1}},
                       Unit::n_of(1, 2));
  EXPECT_EQ(in_line.kept, (std::vector<uint8_t>{1, 0, 1, 0}));
}

/// Of 200 columns the first 128 and the other 72 lose the same share each, and exactly as many as were to.
TEST(Compensate, AsManyGoAsWereToGo) {
  constexpr int64_t outputs = 3, inputs = 200;
  Doubles u(inputs * inputs);
  for (int64_t i = 0; i < inputs; ++i) u[i * inputs + i] = 1;
  const Floats w = random_floats(outputs * inputs, 8);
  std::vector<uint8_t> kept(outputs * inputs, 1);
  std::fill_n(kept.begin(), 251, uint8_t{0});
  const Solved solved(solve_columns, doubles(w), kept, outputs, {inputs, u});
  EXPECT_EQ(std::count(solved.kept.begin(), solved.kept.end(), 0), 251);
  int64_t early = 0;
  for (int64_t r = 0; r < outputs; ++r)
    for (int64_t c = 0; c < 128; ++c) early += solved.kept[r * inputs + c] == 0;
  EXPECT_EQ(early, std::llround(251.0 * 128 / 200));
}

}  // namespace
}  // namespace espalier

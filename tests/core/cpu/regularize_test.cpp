#include <gtest/gtest.h>

#include <cmath>

#include "espalier/core/kernels.h"
#include "support/numbers.h"

namespace espalier::regularize_test {
namespace {

TEST(Regularize, SignsEverywhereOrWhereTheyAreWanted) {
  const Floats w{2, -3, 0, 5};
  Floats dw{1, 1, 1, 1};
  cpu::add_signs(dw.data(), w.data(), nullptr, 0.5f, 4);
  EXPECT_EQ(dw, (Floats{1.5f, 0.5f, 1.0f, 1.5f}));
  const std::vector<uint8_t> where{0, 1, 1, 1};
  cpu::add_signs(dw.data(), w.data(), where.data(), 0.5f, 4);
  EXPECT_EQ(dw, (Floats{1.5f, 0.0f, 1.0f, 2.0f}));
}

TEST(Regularize, ShrinksTowardsZeroAndNoFurther) {
  Floats w{2, -3, 0, 0.5f, -0.25f};
  cpu::shrink(w.data(), 0.5f, 5);
  EXPECT_EQ(w, (Floats{1.5f, -2.5f, 0, 0, 0}));
  Floats none{NAN};
  cpu::shrink(none.data(), 0.5f, 1);
  EXPECT_TRUE(std::isnan(none[0]));
}

TEST(Regularize, SquaresAlongBothAxes) {
  for (const AxesShape& s : {AxesShape{1, 1, 1}, AxesShape{5, 9, 3}, AxesShape{301, 9, 64}}) {
    const Floats w = random_floats(s.elements(), 1);
    Doubles out(static_cast<size_t>(s.rows)), in(static_cast<size_t>(s.columns));
    std::vector<char> scratch(cpu::axis_squares_scratch(s));
    cpu::axis_squares(out.data(), in.data(), w.data(), s, scratch.data());
    for (int64_t i = 0; i < s.elements(); ++i) {
      const double square = static_cast<double>(w[static_cast<size_t>(i)]) * w[static_cast<size_t>(i)];
      out[static_cast<size_t>(i / (s.pixels * s.columns))] -= square;
      in[static_cast<size_t>(i % s.columns)] -= square;
    }
    for (const Doubles& rest : {out, in})
      for (const double left : rest) EXPECT_NEAR(left, 0, 1e-5 * static_cast<double>(s.rows * s.pixels));
  }
  const Floats vector{3, -4};
  Doubles squares(2);
  cpu::axis_squares(squares.data(), nullptr, vector.data(), {2, 1, 1}, nullptr);
  EXPECT_EQ(squares, (Doubles{9, 16}));
}

TEST(Regularize, GathersWhatTheListsName) {
  const Doubles x{1, 2, 4, 8};
  const std::vector<int32_t> begin{0, 2, 2, 5}, index{3, 0, 1, 1, 2};
  Doubles y(3, -1.0);
  cpu::gather_sums(y.data(), x.data(), begin.data(), index.data(), 3);
  EXPECT_EQ(y, (Doubles{9, 0, 8}));
}

TEST(Regularize, TheWeakestOfAGroupIsPulledSixteenTimesAsHard) {
  const Doubles squares{9, 1, 4, 7, 7};
  const std::vector<int32_t> members{1, 1, 1, 2, 2}, begin{0, 3, 5};
  Floats by(5);
  cpu::group_norm_pull(by.data(), squares.data(), members.data(), begin.data(), 2, 0.5);
  EXPECT_EQ(by, (Floats{0.5f, 8.0f, 2.0f, 0.5f, 0.5f}));
  cpu::group_lasso_pull(by.data(), Doubles{4, 0, 1, 16, 0.25}.data(), 0.5, 5);
  EXPECT_EQ(by, (Floats{0.25f, 0.0f, 0.5f, 0.125f, 1.0f}));
}

TEST(Regularize, PullsByRowAndByColumn) {
  const Floats w{1, 2, 3, 4}, out{10, 20}, in{1, 2};
  Floats dw(4, 1.0f);
  cpu::pull(dw.data(), w.data(), out.data(), in.data(), {2, 1, 2});
  EXPECT_EQ(dw, (Floats{12, 25, 64, 89}));
  cpu::pull(dw.data(), w.data(), out.data(), nullptr, {2, 1, 2});
  EXPECT_EQ(dw, (Floats{22, 45, 124, 169}));
}

TEST(Regularize, AddsSquares) {
  const Floats x{1, -2, 3};
  Floats y{1.5f, 0.0f, 2.5f};
  cpu::add_squares(y.data(), x.data(), 0.5f, 3);
  EXPECT_EQ(y, (Floats{2.0f, 2.0f, 7.0f}));
}

}  // namespace
}  // namespace espalier::regularize_test

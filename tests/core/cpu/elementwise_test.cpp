#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "espalier/core/kernels.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier::elementwise_test {
namespace {

// Less than a vector, one, odd tails, and enough that several threads work.
const int64_t sizes[] = {1, 7, 15, 16, 17, 33, 1001, 40013};

/// An output that holds 1, 2, 3, 1, 2, 3, ..., to be overwritten or added to.
Floats dirty(int64_t n) {
  Floats y(static_cast<size_t>(n));
  for (size_t i = 0; i < y.size(); ++i) y[i] = static_cast<float>(1 + i % 3);
  return y;
}

/// expected(0), expected(1), ...
template <class Expected>
Doubles numbers(int64_t n, const Expected& expected) {
  Doubles all(static_cast<size_t>(n));
  for (size_t i = 0; i < all.size(); ++i) all[i] = expected(i);
  return all;
}

TEST(Elementwise, AgainstNaiveLoops) {
  const WithThreads three(3);
  for (const int64_t n : sizes) {
    SCOPED_TRACE(n);
    const Floats a = random_floats(n, 1), b = random_floats(n, 2);
    const float scalar = 0.75f;
    Floats filled = dirty(n), sum = dirty(n);
    cpu::fill(filled.data(), 1.5f, n);
    EXPECT_EQ(filled, Floats(filled.size(), 1.5f));
    cpu::add(sum.data(), a.data(), b.data(), n);
    EXPECT_TRUE(near(sum, numbers(n, [&](size_t i) { return double{a[i]} + b[i]; }), 1e-6));
    check_output(numbers(n, [&](size_t i) { return double{a[i]} * b[i]; }), 1e-6,
                 [&](float* y, bool accumulate) { cpu::mul(y, a.data(), b.data(), n, accumulate); });
    check_output(numbers(n, [&](size_t i) { return -2.5 * a[i]; }), 1e-6,
                 [&](float* y, bool accumulate) { cpu::scale(y, a.data(), -2.5f, n, accumulate); });
    check_output(numbers(n, [&](size_t i) { return 0.75 * a[i]; }), 1e-6,
                 [&](float* y, bool accumulate) { cpu::scale_by(y, a.data(), &scalar, n, accumulate); });
    check_output(numbers(n, [](size_t) { return 2.25; }), 1e-6,
                 [&](float* y, bool accumulate) { cpu::broadcast(y, &scalar, 3.0f, n, accumulate); });
  }
}

TEST(Elementwise, CopiesColumns) {
  const WithThreads three(3);
  for (const auto& [rows, width, first, columns] :
       {std::array<int64_t, 4>{1, 1, 0, 1}, {5, 40, 3, 37}, {3001, 18, 2, 7}}) {
    const int64_t y_width = columns + 2;
    const Floats x = random_floats(rows * width, 1);
    for (const bool accumulate : {false, true}) {
      Floats y = dirty(rows * y_width), expected = y;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < columns; ++i) {
          float& to = expected[r * y_width + 1 + i];
          to = x[r * width + first + i] + (accumulate ? to : 0.0f);
        }
      cpu::copy_columns(y.data() + 1, y_width, x.data() + first, width, columns, rows, accumulate);
      EXPECT_TRUE(same_bits(y, expected));
    }
  }
}

TEST(Elementwise, AddInPlace) {
  const Floats a = random_floats(1001, 1), b = random_floats(1001, 2);
  Floats sum(1001), left = a, right = b;
  cpu::add(sum.data(), a.data(), b.data(), 1001);
  cpu::add(left.data(), left.data(), b.data(), 1001);
  cpu::add(right.data(), a.data(), right.data(), 1001);
  EXPECT_TRUE(same_bits(sum, left));
  EXPECT_TRUE(same_bits(sum, right));
}

TEST(Elementwise, PointersNeedNoAlignment) {
  const Floats a = random_floats(102, 1), b = random_floats(102, 2);
  Floats y(103, 9.0f);
  cpu::add(y.data() + 1, a.data() + 1, b.data() + 1, 101);
  EXPECT_EQ(y[0], 9.0f);
  EXPECT_EQ(y[102], 9.0f) << "wrote past its end";
  for (size_t i = 1; i < 102; ++i) ASSERT_EQ(y[i], a[i] + b[i]);
}

TEST(Elementwise, SetsAndCopiesBytes) {
  const WithThreads three(3);
  for (const size_t n : {size_t{0}, size_t{1}, size_t{1001}, size_t{900001}}) {
    std::vector<uint8_t> x(n), y(n + 1, 9);
    for (size_t i = 0; i < n; ++i) x[i] = static_cast<uint8_t>(i * 7);
    cpu::copy_bytes(y.data(), x.data(), n);
    EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin()));
    EXPECT_EQ(y[n], 9);
    cpu::set_bytes(y.data(), 0xAB, n);
    EXPECT_EQ(static_cast<size_t>(std::ranges::count(y, 0xAB)), n);
    EXPECT_EQ(y[n], 9);
  }
}

TEST(Dropout, ZeroesTheShareAskedForAndScalesTheRest) {
  const int64_t n = 100000;
  const Floats x = random_floats(n, 3, 0.5, 1.0);
  for (const float p : {0.0f, 0.1f, 0.5f, 0.9f})
    for (const uint64_t key : {uint64_t{0}, uint64_t{1}, random_key(5, 5)}) {
      Floats y(x.size());
      cpu::dropout(y.data(), x.data(), p, key, n, false);
      int64_t dropped = 0;
      for (size_t i = 0; i < y.size(); ++i) {
        dropped += y[i] == 0.0f;
        ASSERT_TRUE(y[i] == 0.0f || std::abs(y[i] - x[i] / (1 - p)) <= 1e-6f * y[i]);
      }
      EXPECT_NEAR(static_cast<double>(dropped), p * n, 4 * std::sqrt(p * (1 - p) * n)) << "key " << key;
    }
}

TEST(Dropout, EachKeyAndEachPlaceDrawsAnew) {
  const int64_t n = 50000;
  const Floats ones(static_cast<size_t>(n), 1.0f);
  const uint64_t keys[] = {0, 1, uint64_t{1} << 32, random_key(1, 2)};
  std::vector<Floats> drawn;
  for (const uint64_t key : keys) {
    Floats y(ones.size());
    cpu::dropout(y.data(), ones.data(), 0.5f, key, n, false);
    drawn.push_back(std::move(y));
  }
  const auto agree = [&](const Floats& a, const Floats& b, size_t shift) {
    int64_t count = 0;
    for (size_t i = 0; i + shift < a.size(); ++i) count += a[i] == b[i + shift];
    return static_cast<double>(count);
  };
  for (size_t a = 0; a < drawn.size(); ++a) {
    for (size_t b = 0; b < a; ++b) EXPECT_NEAR(agree(drawn[a], drawn[b], 0), n / 2, 2 * std::sqrt(n));
    for (const size_t shift : {1, 2, 4, 8, 16})
      EXPECT_NEAR(agree(drawn[a], drawn[a], shift), n / 2, 2 * std::sqrt(n));
  }
}

TEST(Dropout, IsItsOwnGradientAndFreeOfThreads) {
  const int64_t n = 40013;
  const Floats x = random_floats(n, 3, 0.5, 1.0), dy(x.size(), 1.0f);
  Floats one(x.size()), several(x.size()), dx(x.size()), added = dirty(n);
  {
    const WithThreads alone(1);
    cpu::dropout(one.data(), x.data(), 0.3f, 77, n, false);
  }
  const WithThreads five(5);
  cpu::dropout(several.data(), x.data(), 0.3f, 77, n, false);
  EXPECT_TRUE(same_bits(one, several));
  cpu::dropout(dx.data(), dy.data(), 0.3f, 77, n, false);
  for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(one[i] == 0.0f, dx[i] == 0.0f) << i;
  const Floats before = added;
  cpu::dropout(added.data(), dy.data(), 0.3f, 77, n, true);
  for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(added[i], before[i] + dx[i]) << i;
}

}  // namespace
}  // namespace espalier::elementwise_test

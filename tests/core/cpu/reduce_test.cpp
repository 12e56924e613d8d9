#include <gtest/gtest.h>

#include <limits>

#include "espalier/core/kernels.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier {
namespace {

Tensor scratch() { return Tensor::empty({static_cast<int64_t>(cpu::reduce_scratch())}, DType::u8); }

TEST(Reduce, SumAndSquareSumAgainstDouble) {
  const WithThreads three(3);
  for (const int64_t n : {0, 1, 7, 15, 16, 17, 33, 1001, 1024, 1025, 70001}) {
    const Floats x = random_floats(n, 1, -1, 3);
    double plain = 0, squares = 0;
    for (const double v : x) plain += v, squares += v * v;
    float y = 7;
    cpu::sum(&y, x.data(), 0.5f, n, scratch().raw());
    EXPECT_NEAR(y, plain / 2, 1e-6 * std::max(1.0, plain)) << n;
    EXPECT_NEAR(cpu::square_sum(x.data(), nullptr, n, scratch().raw()), squares,
                1e-6 * std::max(1.0, squares))
        << n;
  }
}

TEST(Reduce, ManySmallNumbersAreNotLost) {
  // A running sum in single precision is a thousandth off by here.
  const int64_t n = int64_t{1} << 24;
  const Tensor tenths = Tensor::full({n}, 0.1f);
  const double exact = static_cast<double>(n) * 0.1f;
  float y = 0;
  cpu::sum(&y, tenths.f32(), 1.0f, n, scratch().raw());
  EXPECT_NEAR(y, exact, 1e-5 * exact);
}

TEST(Reduce, SameThreadsSameBits) {
  const WithThreads three(3);
  const Floats x = random_floats(200003, 1);
  const double first = cpu::square_sum(x.data(), nullptr, 200003, scratch().raw());
  for (int i = 0; i < 10; ++i) ASSERT_EQ(cpu::square_sum(x.data(), nullptr, 200003, scratch().raw()), first);
}

TEST(Reduce, FirstNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  Floats x = random_floats(1001, 1);
  EXPECT_EQ(cpu::first_not_finite(x.data(), 1001), -1);
  EXPECT_EQ(cpu::first_not_finite(x.data(), 0), -1);
  x[1000] = nan;
  EXPECT_EQ(cpu::first_not_finite(x.data(), 1001), 1000);
  x[17] = -infinity;
  EXPECT_EQ(cpu::first_not_finite(x.data(), 1001), 17);
  x[16] = std::numeric_limits<float>::max();
  x[0] = infinity;
  EXPECT_EQ(cpu::first_not_finite(x.data(), 1001), 0);
}

}  // namespace
}  // namespace espalier

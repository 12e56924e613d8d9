#include <gtest/gtest.h>

#include <limits>

#include "espalier/core/kernels.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier::reduce_test {
namespace {

Tensor scratch() { return Tensor::empty({static_cast<int64_t>(cpu::reduce_scratch())}, DType::u8); }

double square_sum(const std::vector<UpdateSpan>& spans) {
  double y = -1;
  cpu::gradient_square_sum(&y, spans.data(), static_cast<int64_t>(spans.size()), scratch().raw());
  return y;
}
/// Of which that pass reads only gradient and mask.
UpdateSpan span_of(const Floats& g, const std::vector<uint8_t>* mask = nullptr) {
  return {nullptr, g.data(), mask ? mask->data() : nullptr, nullptr, nullptr, static_cast<int64_t>(g.size())};
}

int64_t first_not_finite(const Floats& x, int64_t n) {
  int64_t y = -2;
  cpu::first_not_finite(&y, x.data(), n);
  return y;
}

TEST(Reduce, SumAndSquareSumAgainstDouble) {
  const WithThreads three(3);
  for (const int64_t n : {0, 1, 7, 15, 16, 17, 33, 1001, 1024, 1025, 70001}) {
    const Floats x = random_floats(n, 1, -1, 3);
    double plain = 0, squares = 0;
    for (const double v : x) plain += v, squares += v * v;
    float y = 7;
    cpu::sum(&y, x.data(), 0.5f, n, scratch().raw());
    EXPECT_NEAR(y, plain / 2, 1e-6 * std::max(1.0, plain)) << n;
    EXPECT_NEAR(square_sum({span_of(x)}), squares, 1e-6 * std::max(1.0, squares)) << n;
  }
}

TEST(Reduce, SquareSumOfAllSpansWhereTheirMasksKeep) {
  const Floats a = {3, 100, 4, 100}, b = {12};
  const std::vector<uint8_t> mask = {1, 0, 1, 0};
  EXPECT_EQ(square_sum({span_of(a, &mask), span_of(b)}), 169);
  EXPECT_EQ(square_sum({}), 0);
}

TEST(ClipFactor, BringsTheNormDownAndNeverUp) {
  const auto factor = [](double norm, double max_norm) {
    const double square = norm * norm;
    float y = -1;
    cpu::clip_factor(&y, &square, max_norm);
    return y;
  };
  EXPECT_NEAR(factor(13, 6.5), 0.5, 1e-7);  // torch.nn.utils.clip_grad_norm_: 3, 4, 12 become 1.5, 2, 6
  EXPECT_EQ(factor(13, 14), 1);
  EXPECT_EQ(factor(0, 1), 1);
  EXPECT_LT(factor(1, 1), 1) << "1 / (1 + 1e-6), as PyTorch";
  EXPECT_EQ(factor(std::numeric_limits<double>::infinity(), 1), 0);
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
  const double first = square_sum({span_of(x)});
  for (int i = 0; i < 10; ++i) ASSERT_EQ(square_sum({span_of(x)}), first);
}

TEST(Reduce, FirstNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  Floats x = random_floats(1001, 1);
  EXPECT_EQ(first_not_finite(x, 1001), -1);
  EXPECT_EQ(first_not_finite(x, 0), -1);
  x[1000] = nan;
  EXPECT_EQ(first_not_finite(x, 1001), 1000);
  x[17] = -infinity;
  EXPECT_EQ(first_not_finite(x, 1001), 17);
  x[16] = std::numeric_limits<float>::max();
  x[0] = infinity;
  EXPECT_EQ(first_not_finite(x, 1001), 0);
}

}  // namespace
}  // namespace espalier::reduce_test

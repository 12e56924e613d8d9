#include <gtest/gtest.h>

#include "cuda/card.h"
#include "cuda/support.h"
#include "espalier/core/kernels.h"
#include "support/formulas.h"

namespace espalier::gemm_test {
namespace {

// {n, in, out}: one number, odd sizes, a classifier's, LeNet-300's and an MLP's layers.
const LinearShape shapes[] = {{1, 1, 1},      {1, 784, 300}, {3, 37, 101},   {5, 17, 9},
                              {7, 15, 1},     {17, 1, 33},   {64, 512, 100}, {64, 784, 256},
                              {128, 256, 10}, {255, 33, 31}, {65, 300, 101}, {2, 2048, 1000}};

class CudaGemm : public OnCard<testing::TestWithParam<LinearShape>> {
 protected:
  const LinearShape s = GetParam();
  const Floats x = random_floats(s.n * s.in, 1), w = random_floats(s.out * s.in, 2),
               b = random_floats(s.out, 3), dy = random_floats(s.n * s.out, 4);

  Doubles forward(bool bias) const {
    Doubles y(dy.size());
    for (size_t i = 0; i < y.size(); ++i) y[i] = bias ? b[i % b.size()] : 0.0;
    for_products(s, [&](size_t yi, size_t wi, size_t xi) { y[yi] += double{x[xi]} * w[wi]; });
    return y;
  }
  /// body(tolerance) at both precisions
  template <class Body>
  void at_each_precision(const Body& body) const {
    for (const auto precision : {cuda::Precision::f32, cuda::Precision::tf32}) {
      SCOPED_TRACE(precision_name(precision));
      const WithPrecision with(precision);
      body(precision == cuda::Precision::f32 ? 1e-5 : 1e-3);
    }
  }
};

TEST_P(CudaGemm, ForwardWithEveryActivation) {
  const OnDevice<float> at_x(x), at_w(w), at_b(b);
  for (const bool bias : {false, true}) {
    const Doubles z = forward(bias);
    for (const Activation f : activations) {
      Doubles expected = z;
      for (double& each : expected) each = activated(f, each);
      at_each_precision([&](double tolerance) {
        const OnDevice<float> y(s.n * s.out);
        const auto scratch = device_scratch(cuda::linear_forward_scratch(s, bias));
        cuda::linear_forward(y, at_x, at_w, nullptr, bias ? at_b.data() : nullptr, f, s, scratch);
        // Before the activation, errors are measured against the largest product.
        double largest = 1;
        for (const double each : z) largest = std::max(largest, std::abs(each));
        EXPECT_TRUE(near(y, std::span<const double>(expected), tolerance * largest))
            << "bias " << bias << ", activation " << static_cast<int>(f);
        EXPECT_TRUE(scratch.intact());
      });
    }
  }
}

TEST_P(CudaGemm, ANanGoesThroughRelu) {
  Floats bad = x;
  bad[0] = std::numeric_limits<float>::quiet_NaN();
  const OnDevice<float> at_x(bad), at_w(w), at_b(b), y(s.n * s.out);
  const auto scratch = device_scratch(cuda::linear_forward_scratch(s, true));
  cuda::linear_forward(y, at_x, at_w, nullptr, at_b, Activation::relu, s, scratch);
  const Floats values = y.host();
  for (int64_t o = 0; o < s.out; ++o)
    ASSERT_TRUE(std::isnan(values[static_cast<size_t>(o)])) << "output " << o;
}

TEST_P(CudaGemm, BackwardData) {
  Doubles expected(x.size());
  for_products(s, [&](size_t yi, size_t wi, size_t xi) { expected[xi] += double{dy[yi]} * w[wi]; });
  const OnDevice<float> at_dy(dy), at_w(w);
  at_each_precision([&](double tolerance) {
    for (const bool accumulate : {false, true}) {
      const Floats before = random_floats(static_cast<int64_t>(x.size()), 31, 1.0, 2.0);
      const OnDevice<float> dx(before);
      const auto scratch = device_scratch(cuda::linear_backward_data_scratch(s, accumulate));
      cuda::linear_backward_data(dx, at_dy, at_w, s, accumulate, scratch);
      Doubles wanted = expected;
      for (size_t i = 0; accumulate && i < wanted.size(); ++i) wanted[i] += before[i];
      EXPECT_TRUE(near(dx, std::span<const double>(wanted), tolerance)) << "accumulate " << accumulate;
    }
  });
}

TEST_P(CudaGemm, BackwardWeights) {
  Doubles expected(w.size());
  for_products(s, [&](size_t yi, size_t wi, size_t xi) { expected[wi] += double{dy[yi]} * x[xi]; });
  const OnDevice<float> at_dy(dy), at_x(x);
  at_each_precision([&](double tolerance) {
    for (const bool accumulate : {false, true}) {
      const Floats before = random_floats(static_cast<int64_t>(w.size()), 31, 1.0, 2.0);
      const OnDevice<float> dw(before);
      const auto scratch = device_scratch(cuda::linear_backward_weights_scratch(s, accumulate));
      cuda::linear_backward_weights(dw, at_dy, at_x, s, accumulate, scratch);
      Doubles wanted = expected;
      for (size_t i = 0; accumulate && i < wanted.size(); ++i) wanted[i] += before[i];
      EXPECT_TRUE(near(dw, std::span<const double>(wanted), tolerance)) << "accumulate " << accumulate;
    }
  });
}

TEST_P(CudaGemm, SameBitsEachTime) {
  const OnDevice<float> at_x(x), at_w(w), at_b(b), at_dy(dy), y(s.n * s.out), dw(s.in * s.out);
  const auto forward_scratch = device_scratch(cuda::linear_forward_scratch(s, true)),
             weights_scratch = device_scratch(cuda::linear_backward_weights_scratch(s, false));
  Floats first_y, first_dw;
  for (int round = 0; round < 3; ++round) {
    cuda::linear_forward(y, at_x, at_w, nullptr, at_b, Activation::relu, s, forward_scratch);
    cuda::linear_backward_weights(dw, at_dy, at_x, s, false, weights_scratch);
    if (round == 0) first_y = y.host(), first_dw = dw.host();
    EXPECT_TRUE(same_bits(first_y, y.host()));
    EXPECT_TRUE(same_bits(first_dw, dw.host()));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaGemm, testing::ValuesIn(shapes), [](const auto& info) {
  const LinearShape& s = info.param;
  return "n" + std::to_string(s.n) + "i" + std::to_string(s.in) + "o" + std::to_string(s.out);
});

// Exact is exact: numbers of 23 bits of mantissa, whose products TensorFloat-32 rounds.
class CudaGemmPrecision : public OnCard<> {};
TEST_F(CudaGemmPrecision, F32KeepsAllDigitsOfOperands) {
  const LinearShape s{16, 16, 16};
  Floats x(256, 0.0f), w(256, 0.0f);
  for (size_t i = 0; i < 16; ++i) x[17 * i] = 1.0f + 0x1p-23f, w[17 * i] = 1.0f;
  const OnDevice<float> at_x(x), at_w(w), y(256);
  const WithPrecision exact(cuda::Precision::f32);
  const auto scratch = device_scratch(cuda::linear_forward_scratch(s, false));
  cuda::linear_forward(y, at_x, at_w, nullptr, nullptr, Activation::none, s, scratch);
  EXPECT_EQ(y.host(), x);
}

}  // namespace
}  // namespace espalier::gemm_test

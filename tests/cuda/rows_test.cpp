// Softmax, layer norm and products of activations (rows.cuh, softmax.cu, layer_norm.cu, gemm.cpp).
#include "support/rows.h"

#include <limits>

#include "cuda/card.h"
#include "cuda/support.h"

namespace espalier::rows_test {
namespace {

using CudaSoftmax = OnCard<>;
using CudaLayerNorm = OnCard<>;
using CudaMatmul = OnCard<>;

// A row for a lane, a warp, a warp's maximum, a block; more rows than a block has.
const NormShape shapes[] = {{1, 1},    {3, 7},    {130, 33}, {9, 192},  {65, 65},
                            {5, 1024}, {3, 1025}, {2, 2500}, {2000, 20}};

TEST_F(CudaSoftmax, AgainstDouble) {
  for (const NormShape& s : shapes)
    for (const double offset : {0.0, 1e3}) {
      SCOPED_TRACE(testing::Message() << s.rows << "x" << s.c << " about " << offset);
      const auto c = static_cast<size_t>(s.c);
      const Floats x = random_floats(s.rows * s.c, 1, offset - 8, offset + 8),
                   dy = random_floats(s.rows * s.c, 2);
      const Doubles expected = softmax_formula(doubles(x), c);
      const OnDevice<float> at_x(x), at_dy(dy), y(s.rows * s.c, 1);
      cuda::softmax_forward(y, at_x, s);
      EXPECT_TRUE(near(y, std::span<const double>(expected), 1e-6));
      check_on_device(
          softmax_backward_formula(doubles(dy), expected, c), 2e-6,
          [&](float* dx, bool accumulate) { cuda::softmax_backward(dx, at_dy, y, s, accumulate); });
    }
}

TEST_F(CudaSoftmax, WhatIsRuledOutIsZeroAndNaNShowsInTheWholeRow) {
  const float infinity = std::numeric_limits<float>::infinity();
  Floats x = random_floats(80, 1);
  x[3] = -infinity, x[23] = std::numeric_limits<float>::quiet_NaN(), x[59] = infinity;
  const OnDevice<float> at_x(x), at_y(80);
  cuda::softmax_forward(at_y, at_x, {4, 20});
  const Floats y = at_y.host();
  EXPECT_EQ(y[3], 0.0f);
  for (size_t k = 0; k < 80; ++k) ASSERT_EQ(std::isnan(y[k]), k >= 20 && k < 60) << k;
}

TEST_F(CudaLayerNorm, AgainstDouble) {
  for (const NormShape& s : shapes) {
    SCOPED_TRACE(testing::Message() << s.rows << "x" << s.c);
    const Floats x = random_floats(s.rows * s.c, 1, 1, 3), dy = random_floats(s.rows * s.c, 2),
                 gamma = random_floats(s.c, 3, 0.5, 2.0), beta = random_floats(s.c, 4);
    const double eps = s.c == 1 ? 1e-1 : 1e-5;
    const LayerNormFormula expected(doubles(x), doubles(dy), doubles(gamma), doubles(beta), eps);
    const OnDevice<float> at_x(x), at_dy(dy), at_gamma(gamma), at_beta(beta), y(s.rows * s.c, 1),
        mean(s.rows), rstd(s.rows);
    cuda::layer_norm_forward(y, mean, rstd, at_x, at_gamma, at_beta, static_cast<float>(eps), s);
    EXPECT_TRUE(near(y, std::span<const double>(expected.y), 2e-5));
    EXPECT_TRUE(near(mean, std::span<const double>(expected.mean), 1e-6));
    EXPECT_TRUE(near(rstd, std::span<const double>(expected.rstd), 2e-5));
    const auto scratch = device_scratch(cuda::layer_norm_backward_scratch(s));
    for (const int64_t offset : {0, 1}) {  // by four numbers at once, where C allows it, and by single ones
      const OnDevice<float> of_x(x, offset), of_dy(dy, offset);
      const LayerNormBackward from{.dy = of_dy, .x = of_x, .gamma = at_gamma, .mean = mean, .rstd = rstd};
      const auto run = [&](const NormGradients& to) { cuda::layer_norm_backward(to, from, s, scratch); };
      check_on_device(expected.dx, 5e-5, [&](float* dx, bool add) { run({.dx = dx, .add_dx = add}); });
      check_on_device(expected.dgamma, 5e-5,
                      [&](float* dgamma, bool add) { run({.dgamma = dgamma, .add_dgamma = add}); });
      check_on_device(expected.dbeta, 1e-5,
                      [&](float* dbeta, bool add) { run({.dbeta = dbeta, .add_dbeta = add}); });
    }
    EXPECT_TRUE(scratch.intact());
  }
}

TEST_F(CudaMatmul, AgainstDoubleAtEachPrecision) {
  for (const auto precision : {cuda::Precision::f32, cuda::Precision::tf32}) {
    const WithPrecision with(precision);
    for_matmuls([&](const MatmulShape& s) {
      const Floats a = random_floats(s.batch * s.m * s.k, 1), b = random_floats(s.batch * s.k * s.n, 2);
      const OnDevice<float> at_a(a), at_b(b);
      const Doubles expected = matmul_formula(doubles(a), doubles(b), s);
      for (const bool accumulate : {false, true}) {
        const Floats before = random_floats(s.batch * s.m * s.n, 31, 1.0, 2.0);
        const OnDevice<float> y(before);
        const auto scratch = device_scratch(cuda::matmul_scratch(s, accumulate));
        cuda::matmul(y, at_a, at_b, s, accumulate, scratch);
        Doubles wanted = expected;
        for (size_t i = 0; accumulate && i < wanted.size(); ++i) wanted[i] += before[i];
        EXPECT_TRUE(near(y, std::span<const double>(wanted), precision == cuda::Precision::f32 ? 1e-5 : 2e-3))
            << precision_name(precision) << ", accumulate " << accumulate;
        EXPECT_TRUE(scratch.intact());
      }
    });
  }
}

}  // namespace
}  // namespace espalier::rows_test

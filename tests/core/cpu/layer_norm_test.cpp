#include <gtest/gtest.h>

#include "espalier/core/kernels.h"
#include "support/rows.h"
#include "support/threads.h"

namespace espalier::layer_norm_test {
namespace {

TEST(LayerNorm, AgainstDouble) {
  const WithThreads three(3);
  for (const int64_t c : {1, 2, 7, 15, 16, 17, 33, 64, 192, 1001})
    for (const int64_t rows : {1, 7, 500})
      for (const double offset : {0.0, 10.0}) {
        SCOPED_TRACE(testing::Message() << rows << "x" << c << " about " << offset);
        const NormShape s{rows, c};
        const Floats x = random_floats(rows * c, 1, offset - 2, offset + 2), dy = random_floats(rows * c, 2),
                     gamma = random_floats(c, 3, 0.5, 2.0), beta = random_floats(c, 4);
        const double eps = c <= 2 ? 1e-1 : 1e-5;  // of two that are near each other the mean rounds too much
        const LayerNormFormula expected(doubles(x), doubles(dy), doubles(gamma), doubles(beta), eps);
        const size_t n = static_cast<size_t>(rows);
        Floats y(x.size(), 9.0f), mean(n, 9.0f), rstd(n, 9.0f);
        cpu::layer_norm_forward(y.data(), mean.data(), rstd.data(), x.data(), gamma.data(), beta.data(),
                                static_cast<float>(eps), s);
        EXPECT_TRUE(near(y, expected.y, 2e-5));
        EXPECT_TRUE(near(mean, expected.mean, 1e-6));
        EXPECT_TRUE(near(rstd, expected.rstd, 2e-5));
        const LayerNormBackward from{
            .dy = dy.data(), .x = x.data(), .gamma = gamma.data(), .mean = mean.data(), .rstd = rstd.data()};
        std::vector<char> scratch(cpu::layer_norm_backward_scratch(s));
        check_output(expected.dx, 5e-5, [&](float* dx, bool add) {
          cpu::layer_norm_backward({.dx = dx, .add_dx = add}, from, s, scratch.data());
        });
        check_output(expected.dgamma, 5e-5, [&](float* dgamma, bool add) {
          cpu::layer_norm_backward({.dgamma = dgamma, .add_dgamma = add}, from, s, scratch.data());
        });
        check_output(expected.dbeta, 1e-5, [&](float* dbeta, bool add) {
          cpu::layer_norm_backward({.dbeta = dbeta, .add_dbeta = add}, from, s, scratch.data());
        });
        // All at once, dx in dy's place.
        Floats dx = dy, dgamma(gamma.size()), dbeta(gamma.size());
        LayerNormBackward in_place = from;
        in_place.dy = dx.data();
        cpu::layer_norm_backward({.dx = dx.data(), .dgamma = dgamma.data(), .dbeta = dbeta.data()}, in_place,
                                 s, scratch.data());
        EXPECT_TRUE(near(dx, expected.dx, 5e-5));
        EXPECT_TRUE(near(dgamma, expected.dgamma, 5e-5));
        EXPECT_TRUE(near(dbeta, expected.dbeta, 1e-5));
      }
}

TEST(LayerNorm, EqualNumbersHaveNoVariance) {
  const Floats x(34, 3.25f), gamma(17, 2.0f), beta(17, 0.5f);
  Floats y(34), mean(2), rstd(2);
  cpu::layer_norm_forward(y.data(), mean.data(), rstd.data(), x.data(), gamma.data(), beta.data(), 1e-6f,
                          {2, 17});
  for (const float each : y) EXPECT_NEAR(each, 0.5f, 1e-3);
}

}  // namespace
}  // namespace espalier::layer_norm_test

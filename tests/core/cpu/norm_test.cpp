#include <gtest/gtest.h>

#include "espalier/core/kernels.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier {
namespace {

// The op's tests (tests/autograd/ops/norm_test.cpp) hold the kernels to a naive loop; here is what only
// numbers far from zero, many rows and several threads show.

Tensor scratch(size_t bytes) { return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8); }

TEST(Norm, StatisticsOfNumbersFarFromZero) {
  for (const int threads : {1, 2, 3})
    for (const int64_t c : {1, 3, 16, 17, 101})
      for (const int64_t rows : {2, 7, 1000, 5003}) {
        const WithThreads some{threads};
        const NormShape s{rows, c};
        const Floats x = random_floats(rows * c, 1, 999.0, 1001.0);
        Doubles mean(static_cast<size_t>(c)), variance(static_cast<size_t>(c));
        for (size_t i = 0; i < x.size(); ++i)
          mean[i % mean.size()] += double{x[i]} / static_cast<double>(rows);
        for (size_t i = 0; i < x.size(); ++i)
          variance[i % mean.size()] += std::pow(x[i] - mean[i % mean.size()], 2) / static_cast<double>(rows);
        const Floats near_mean(static_cast<size_t>(c), 1000.0f);
        for (const float* center : {near_mean.data(), static_cast<const float*>(nullptr)}) {
          Floats found_mean(mean.size()), found_variance(mean.size());
          Tensor block = scratch(cpu::channel_statistics_scratch(s));
          cpu::channel_statistics({found_mean.data(), found_variance.data(), center}, x.data(), s,
                                  block.raw());
          EXPECT_TRUE(near(found_mean, mean, 1e-6)) << rows << "x" << c;
          EXPECT_TRUE(near(found_variance, variance, 1e-4)) << rows << "x" << c;
        }
      }
}

TEST(Norm, SameThreadsSameBits) {
  const WithThreads two{2};
  const NormShape s{3001, 37};
  const Floats x = random_floats(s.rows * s.c, 1), dy = random_floats(s.rows * s.c, 2),
               scale = random_floats(s.c, 3), shift = random_floats(s.c, 4), mean = random_floats(s.c, 5),
               rstd = random_floats(s.c, 6, 0.5, 2.0);
  Tensor block = scratch(cpu::batch_norm_backward_scratch(s));
  Floats first;
  for (int i = 0; i < 4; ++i) {
    Floats dx(x.size()), dgamma(scale.size()), dbeta(scale.size());
    cpu::batch_norm_backward({.dx = dx.data(), .dgamma = dgamma.data(), .dbeta = dbeta.data()},
                             {.dy = dy.data(),
                              .x = x.data(),
                              .scale = scale.data(),
                              .shift = shift.data(),
                              .mean = mean.data(),
                              .rstd = rstd.data(),
                              .f = Activation::relu},
                             s, block.raw());
    dx.insert(dx.end(), dgamma.begin(), dgamma.end());
    dx.insert(dx.end(), dbeta.begin(), dbeta.end());
    if (i == 0) first = dx;
    EXPECT_TRUE(same_bits(first, dx));
  }
}

}  // namespace
}  // namespace espalier

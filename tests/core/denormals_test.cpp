#include "espalier/core/denormals.h"

#include <gtest/gtest.h>

#include <vector>

#include "espalier/core/kernels.h"
#include "espalier/core/thread_pool.h"

namespace espalier::denormals_test {
namespace {

constexpr float least = 1.2e-38f;  // that is no denormal, nearly

float tenth_of(float x) {
  const volatile float at_run_time = x;
  return at_run_time * 0.1f;
}

TEST(FlushDenormals, TheyAreZerosWhileOneLives) {
#if !defined(__SSE2__)
  GTEST_SKIP() << "is of x86";
#endif
  EXPECT_GT(tenth_of(least), 0);
  {
    const FlushDenormals fast;
    EXPECT_EQ(tenth_of(least), 0);
    { const FlushDenormals again; }
    EXPECT_EQ(tenth_of(least), 0);
  }
  EXPECT_GT(tenth_of(least), 0);
}

TEST(FlushDenormals, ARegionComputesAsItsCallerDoes) {
#if !defined(__SSE2__)
  GTEST_SKIP() << "is of x86";
#endif
  struct Region {
    ThreadPool& pool = *new ThreadPool(nullptr);  // its threads live as long as the process
    std::vector<int> is_zero = {};
  } region;
  const auto zeros = [&region] {
    region.is_zero.assign(4, -1);
    region.pool.run_together(
        4,
        [](const void* context, int part) {
          auto& all = *static_cast<Region*>(const_cast<void*>(context));
          all.pool.barrier();  // so that no thread takes several parts
          all.is_zero[static_cast<size_t>(part)] = tenth_of(least) == 0;
        },
        &region);
    return region.is_zero;
  };
  EXPECT_EQ(zeros(), std::vector<int>(4, 0));
  {
    const FlushDenormals fast;
    EXPECT_EQ(zeros(), std::vector<int>(4, 1));
  }
  EXPECT_EQ(zeros(), std::vector<int>(4, 0)) << "threads do not stay in it";
}

TEST(FlushDenormals, MomentumThatDecaysComesToZero) {
#if !defined(__SSE2__)
  GTEST_SKIP() << "is of x86";
#endif
  std::vector<float> w(100, 1.0f), g(100, 0.0f), v(100, 1.3e-38f);
  const UpdateSpan span{w.data(), g.data(), nullptr, v.data(), nullptr, 100};
  const SgdStep step{.lr = 0.1f,
                     .momentum = 0.9f,
                     .weight_decay = 0,
                     .gradient_scale = nullptr,
                     .nesterov = false,
                     .first = false};
  const FlushDenormals fast;
  for (int i = 0; i < 2; ++i) cpu::sgd_update(&span, 1, step);
  EXPECT_EQ(v, std::vector<float>(100, 0.0f));
}

}  // namespace
}  // namespace espalier::denormals_test

// Also the test of activation-inl.h, whose vectors norm.cpp uses too.
#include <gtest/gtest.h>

#include <limits>

#include "espalier/core/kernels.h"
#include "support/formulas.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier::activation_test {
namespace {

const int64_t sizes[] = {1, 7, 15, 16, 17, 33, 1001, 40013};

Floats forward(Activation f, const Floats& x) {
  Floats y(x.size());
  cpu::activation_forward(y.data(), x.data(), f, static_cast<int64_t>(x.size()));
  return y;
}

/// What the backward kernel reads.
Floats saved_of(Activation f, const Floats& x) { return keeps_input(f) ? x : forward(f, x); }

TEST(Activation, ForwardAndBackwardAgainstDouble) {
  const WithThreads three(3);
  for (const Activation f : activations)
    for (const int64_t n : sizes) {
      const Floats x = random_floats(n, 1, -6, 6), dy = random_floats(n, 2);
      Doubles y(x.size()), dx(x.size());
      for (size_t i = 0; i < x.size(); ++i) {
        y[i] = activated(f, x[i]);
        dx[i] = dy[i] * activation_slope(f, x[i]);
      }
      EXPECT_TRUE(near(forward(f, x), y, 3e-7)) << static_cast<int>(f);
      const Floats saved = saved_of(f, x);
      check_output(dx, 1e-6, [&](float* gradient, bool accumulate) {
        cpu::activation_backward(gradient, dy.data(), saved.data(), f, n, accumulate);
      });
    }
}

TEST(Activation, InPlace) {
  for (const Activation f : activations) {
    const Floats x = random_floats(1001, 1, -6, 6), y = forward(f, x);
    Floats z = x;
    cpu::activation_forward(z.data(), z.data(), f, 1001);
    EXPECT_TRUE(same_bits(y, z));
  }
}

TEST(Activation, AccurateOverTheWholeRange) {
  Floats x;
  for (float v = -30.0f; v <= 30.0f; v += 0.00371f) x.push_back(v);
  for (const Activation f : activations) {
    const Floats y = forward(f, x), saved = saved_of(f, x), ones(x.size(), 1.0f);
    Floats dx(x.size());
    cpu::activation_backward(dx.data(), ones.data(), saved.data(), f, static_cast<int64_t>(x.size()), false);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(y[i], activated(f, x[i]), 2.5e-7 * std::max(1.0, std::abs(double{x[i]}))) << x[i];
      ASSERT_NEAR(dx[i], activation_slope(f, x[i]), 1e-6) << "derivative at " << x[i];
    }
  }
}

TEST(Activation, LargeNumbersSaturate) {
  const float largest = std::numeric_limits<float>::max(), infinity = std::numeric_limits<float>::infinity();
  for (const float x : {50.0f, 88.0f, 89.0f, 104.0f, 105.0f, 200.0f, 1000.0f, 1e10f, largest, infinity}) {
    EXPECT_EQ(forward(Activation::sigmoid, {x})[0], 1.0f) << x;
    EXPECT_LE(forward(Activation::sigmoid, {-x})[0], 2e-22f) << -x;
    EXPECT_GE(forward(Activation::sigmoid, {-x})[0], 0.0f) << -x;
    EXPECT_EQ(forward(Activation::tanh, {x})[0], 1.0f) << x;
    EXPECT_EQ(forward(Activation::tanh, {-x})[0], -1.0f) << -x;
    EXPECT_EQ(forward(Activation::gelu, {x})[0], x) << x;
    if (x < infinity) {
      EXPECT_EQ(forward(Activation::gelu, {-x})[0], 0.0f) << -x;
    }
    EXPECT_EQ(forward(Activation::relu, {x})[0], x);
    EXPECT_EQ(forward(Activation::relu, {-x})[0], 0.0f);
  }
  for (const float x : {20.0f, 1e4f, 1e19f, 1e25f, largest}) {  // x^2 overflows from 2e19
    Floats dx(2);
    const Floats at{x, -x}, ones{1, 1};
    cpu::activation_backward(dx.data(), ones.data(), at.data(), Activation::gelu, 2, false);
    EXPECT_EQ(dx, (Floats{1, 0})) << x;
  }
}

TEST(Activation, NaNStaysNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Activation f : activations)
    for (const size_t n : {1, 16, 35}) {
      const Floats y = forward(f, Floats(n, nan));
      for (const float each : y) EXPECT_TRUE(std::isnan(each)) << static_cast<int>(f);
    }
}

TEST(Activation, BiasBackwardSumsColumns) {
  const WithThreads three(3);
  for (const Activation f : activations)
    for (const auto& [rows, cols] :
         {std::pair<int64_t, int64_t>{1, 1}, {7, 3}, {64, 10}, {33, 17}, {1001, 37}, {3, 20011}}) {
      const Floats x = random_floats(rows * cols, 1, -4, 4), dy = random_floats(rows * cols, 2),
                   saved = saved_of(f, x);
      Doubles dx(x.size()), db(static_cast<size_t>(cols));
      for (size_t i = 0; i < x.size(); ++i) {
        dx[i] = dy[i] * activation_slope(f, x[i]);
        db[i % static_cast<size_t>(cols)] += dx[i];
      }
      Floats gradient(x.size(), 5.0f);
      Tensor scratch = Tensor::empty({static_cast<int64_t>(cpu::rows_scratch(cols))}, DType::u8);
      const bool plain = f == Activation::none;
      check_output(db, 1e-5, [&](float* bias, bool accumulate) {
        cpu::activation_bias_backward(plain ? nullptr : gradient.data(), bias, dy.data(),
                                      plain ? nullptr : saved.data(), f, rows, cols, accumulate,
                                      scratch.raw());
      });
      if (!plain) {
        EXPECT_TRUE(near(gradient, dx, 1e-6)) << static_cast<int>(f);
      }
    }
}

}  // namespace
}  // namespace espalier::activation_test

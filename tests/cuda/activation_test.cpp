#include <limits>

#include "cuda/card.h"
#include "cuda/support.h"
#include "support/formulas.h"

namespace espalier::activation_test {
namespace {

using CudaActivation = OnCard<>;

Floats forward(Activation f, const Floats& x, int64_t offset = 0) {
  const auto n = static_cast<int64_t>(x.size());
  const OnDevice<float> dx(x, offset), y(n, offset);
  cuda::activation_forward(y, dx, f, n);
  EXPECT_TRUE(y.intact());
  return y.host();
}
Floats backward(Activation f, const Floats& dy, const Floats& saved) {
  const auto n = static_cast<int64_t>(dy.size());
  const OnDevice<float> ddy(dy), dsaved(saved), dx(n);
  cuda::activation_backward(dx, ddy, f == Activation::none ? nullptr : dsaved.data(), f, n, false);
  return dx.host();
}
/// What the backward kernel reads.
Floats saved_of(Activation f, const Floats& x) { return keeps_input(f) ? x : forward(f, x); }

TEST_F(CudaActivation, ForwardAndBackwardAgainstDouble) {
  for (const Activation f : activations)
    for (const int64_t n : {1, 3, 33, 255, 1001, 2049, 20013})
      for (const int64_t offset : {0, 1}) {
        SCOPED_TRACE(testing::Message() << static_cast<int>(f) << ", " << n << " at " << offset);
        const Floats x = random_floats(n, 1, -6, 6), dy = random_floats(n, 2);
        Doubles y(x.size()), dx(x.size());
        for (size_t i = 0; i < x.size(); ++i) {
          y[i] = activated(f, x[i]);
          dx[i] = dy[i] * activation_slope(f, x[i]);
        }
        EXPECT_TRUE(near(forward(f, x, offset), y, 3e-7));
        const OnDevice<float> saved(saved_of(f, x), offset), ddy(dy, offset);
        check_on_device(dx, 1e-6, [&](float* gradient, bool accumulate) {
          cuda::activation_backward(gradient, ddy, f == Activation::none ? nullptr : saved.data(), f, n,
                                    accumulate);
        });
      }
}

TEST_F(CudaActivation, InPlace) {
  for (const Activation f : activations) {
    const Floats x = random_floats(10001, 1, -6, 6);
    const OnDevice<float> z(x);
    cuda::activation_forward(z, z, f, 10001);
    EXPECT_TRUE(same(z, forward(f, x)));
  }
}

TEST_F(CudaActivation, AccurateOverTheWholeRange) {
  Floats x;
  for (float v = -30.0f; v <= 30.0f; v += 0.00371f) x.push_back(v);
  for (const Activation f : activations) {
    const Floats y = forward(f, x), dx = backward(f, Floats(x.size(), 1.0f), saved_of(f, x));
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(y[i], activated(f, x[i]), 2.5e-7 * std::max(1.0, std::abs(double{x[i]}))) << x[i];
      ASSERT_NEAR(dx[i], activation_slope(f, x[i]), 1e-6) << "derivative at " << x[i];
    }
  }
}

TEST_F(CudaActivation, LargeNumbersSaturate) {
  const float largest = std::numeric_limits<float>::max(), infinity = std::numeric_limits<float>::infinity();
  const Floats x = {50.0f,   88.0f, 89.0f, 104.0f, 105.0f,  200.0f,
                    1000.0f, 1e10f, 1e19f, 1e25f,  largest, infinity};
  Floats negative = x;
  for (float& each : negative) each = -each;
  const Floats ones(x.size(), 1.0f), zeros(x.size(), 0.0f);
  EXPECT_EQ(forward(Activation::sigmoid, x), ones);
  for (const float each : forward(Activation::sigmoid, negative)) EXPECT_TRUE(each >= 0.0f && each <= 2e-22f);
  EXPECT_EQ(forward(Activation::tanh, x), ones);
  EXPECT_EQ(forward(Activation::tanh, negative), Floats(x.size(), -1.0f));
  EXPECT_EQ(forward(Activation::relu, x), x);
  EXPECT_EQ(forward(Activation::relu, negative), zeros);
  EXPECT_EQ(forward(Activation::gelu, x), x);
  negative.back() = -largest;
  EXPECT_EQ(forward(Activation::gelu, negative), zeros);
  EXPECT_EQ(backward(Activation::gelu, ones, negative), zeros);
}

TEST_F(CudaActivation, NaNStaysNaN) {
  for (const Activation f : activations)
    for (const float y : forward(f, Floats(35, std::numeric_limits<float>::quiet_NaN())))
      EXPECT_TRUE(std::isnan(y)) << static_cast<int>(f);
}

TEST_F(CudaActivation, BiasBackwardSumsColumns) {
  // One slab and several, columns of vectors and none, less than a warp of them and several tiles.
  for (const Activation f : activations)
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1},
                                     {7, 3},
                                     {64, 10},
                                     {33, 17},
                                     {128, 64},
                                     {129, 64},
                                     {1001, 37},
                                     {1001, 101},
                                     {2000, 4},
                                     {300, 512},
                                     {3, 20011}})
      for (const int64_t offset : {0, 1}) {
        SCOPED_TRACE(testing::Message()
                     << static_cast<int>(f) << ", " << rows << "x" << cols << " at " << offset);
        const Floats x = random_floats(rows * cols, 1, -4, 4), dy = random_floats(rows * cols, 2),
                     saved = saved_of(f, x);
        Doubles dx(x.size()), db(static_cast<size_t>(cols));
        for (size_t i = 0; i < x.size(); ++i) {
          dx[i] = dy[i] * activation_slope(f, x[i]);
          db[i % static_cast<size_t>(cols)] += dx[i];
        }
        const OnDevice<float> ddy(dy, offset), dsaved(saved, offset), gradient(rows * cols, offset);
        const auto scratch = device_scratch(cuda::rows_scratch(cols));
        const bool plain = f == Activation::none;
        check_on_device(db, 1e-5, [&](float* bias, bool accumulate) {
          cuda::activation_bias_backward(plain ? nullptr : gradient.data(), bias, ddy,
                                         plain ? nullptr : dsaved.data(), f, rows, cols, accumulate, scratch);
        });
        EXPECT_TRUE(scratch.intact());
        if (!plain) {
          EXPECT_TRUE(near(gradient, dx, 1e-6));
        }
      }
}

TEST_F(CudaActivation, BiasBackwardInPlaceAndTheSameBitsAgain) {
  const int64_t rows = 3001, cols = 64;
  const Floats y = random_floats(rows * cols, 1), dy = random_floats(rows * cols, 2);
  const OnDevice<float> dsaved(y), ddy(dy), dx(rows * cols), in_place(dy);
  const auto scratch = device_scratch(cuda::rows_scratch(cols));
  const OnDevice<float> first(cols), second(cols);
  cuda::activation_bias_backward(dx, first, ddy, dsaved, Activation::relu, rows, cols, false, scratch);
  cuda::activation_bias_backward(in_place, second, in_place, dsaved, Activation::relu, rows, cols, false,
                                 scratch);
  EXPECT_TRUE(same(in_place, dx.host()));
  EXPECT_TRUE(same(second, first.host()));
}

}  // namespace
}  // namespace espalier::activation_test

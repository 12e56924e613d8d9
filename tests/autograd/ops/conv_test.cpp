// Also the test of convolve.h, which norm_test.cpp reaches too.
#include <gtest/gtest.h>

#include "espalier/autograd/ops.h"
#include "support/bad_input.h"
#include "support/formulas.h"
#include "support/op_case.h"

namespace espalier {
namespace {

/// x [n,h,w,c], `o` windows of k x k
OpCase conv_case(const Shape& x, int64_t o, int64_t k, const ops::Conv2dOptions& options, bool bias,
                 Activation f) {
  const ConvShape s{x[0], x[1], x[2], x[3], o, k, k, options.stride, options.pad, options.groups};
  const int64_t gc = s.c / s.groups, go = s.o / s.groups;
  OpCase c;
  c.inputs = {x, {o, k, k, gc}};
  if (bias) c.inputs.push_back({o});
  c.op = [=](const auto& v) { return ops::conv2d(v[0], v[1], bias ? v[2] : Variable(), options, f); };
  c.reference = [=](const auto& v) {
    Doubles y;
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t oy = 0; oy < s.out_h(); ++oy)
        for (int64_t ox = 0; ox < s.out_w(); ++ox)
          for (int64_t out = 0; out < o; ++out) {
            double z = bias ? v[2][static_cast<size_t>(out)] : 0;
            for (int64_t ky = 0; ky < k; ++ky)
              for (int64_t kx = 0; kx < k; ++kx) {
                const int64_t py = oy * s.stride - s.pad + ky, px = ox * s.stride - s.pad + kx;
                if (py < 0 || py >= s.h || px < 0 || px >= s.w) continue;
                for (int64_t i = 0; i < gc; ++i)
                  z += v[0][static_cast<size_t>(((n * s.h + py) * s.w + px) * s.c + out / go * gc + i)] *
                       v[1][static_cast<size_t>(((out * k + ky) * k + kx) * gc + i)];
              }
            y.push_back(activated(f, z));
          }
    return y;
  };
  return c;
}

TEST(Conv2d, ReferenceAndGradients) {
  for (const Activation f : activations)
    for (const bool bias : {false, true}) {
      SCOPED_TRACE(testing::Message() << "activation " << static_cast<int>(f) << ", bias " << bias);
      check(conv_case({2, 5, 7, 3}, 5, 3, {.pad = 1}, bias, f));
    }
  check(conv_case({1, 8, 8, 1}, 4, 5, {}, true, Activation::relu));
  check(conv_case({2, 7, 7, 4}, 6, 3, {.stride = 2, .pad = 1}, true, Activation::none));
  check(conv_case({2, 5, 5, 6}, 9, 3, {.pad = 1, .groups = 3}, true, Activation::gelu));
  check(conv_case({2, 5, 5, 7}, 7, 3, {.groups = 7}, false, Activation::none));
  check(conv_case({3, 4, 4, 17}, 15, 1, {}, true, Activation::tanh));
}

TEST(Conv2d, BadArguments) {
  const auto message = [](const Shape& x, const Shape& w, const Shape& b,
                          const ops::Conv2dOptions& options = {}) {
    return message_of([&] {
      ops::conv2d(Variable(Tensor::zeros(x)), Variable(Tensor::zeros(w)), Variable(Tensor::zeros(b)),
                  options);
    });
  };
  EXPECT_EQ(message({2, 8, 8}, {4, 3, 3, 3}, {4}),
            "conv2d: expects x [N,H,W,C] and w [O,Kh,Kw,C], found [2, 8, 8] and [4, 3, 3, 3]");
  EXPECT_EQ(message({2, 8, 8, 3}, {4, 3, 3, 2}, {4}),
            "conv2d: input has 3 channels a group, weight expects 2");
  EXPECT_EQ(message({2, 8, 8, 4}, {6, 3, 3, 1}, {6}, {.groups = 3}),
            "conv2d: 3 groups do not divide 4 input and 6 output channels");
  EXPECT_EQ(message({2, 8, 8, 4}, {6, 3, 3, 4}, {6}, {.groups = 0}),
            "conv2d: 0 groups do not divide 4 input and 6 output channels");
  EXPECT_EQ(message({2, 3, 8, 1}, {1, 5, 5, 1}, {1}),
            "conv2d: a window of 5x5 with padding 0 does not fit an image of 3x8");
  EXPECT_TRUE(contains(message({2, 8, 8, 1}, {1, 5, 5, 1}, {1}, {.stride = 0}), "conv2d: "));
  EXPECT_TRUE(contains(message({2, 8, 8, 1}, {1, 5, 5, 1}, {1}, {.pad = -1}), "conv2d: "));
  EXPECT_EQ(message({2, 8, 8, 1}, {4, 3, 3, 1}, {3}), "conv2d: bias has shape [3], expected [4]");
}

}  // namespace
}  // namespace espalier

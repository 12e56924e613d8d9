// Also the test of convolve.h, which norm_test.cpp reaches too.
#include <gtest/gtest.h>

#include "espalier/autograd/fixed_weights.h"
#include "espalier/graph/ops.h"
#include "graph/op_sample.h"
#include "support/bad_input.h"
#include "support/formulas.h"
#include "support/op_case.h"

namespace espalier {
namespace {

const AddOpSample conv2d_sample{"conv2d",
                                {.inputs = {{2, 4, 5, 4}, {6, 3, 3, 2}, {6}},
                                 .attributes = {{"stride", int64_t{2}},
                                                {"pad", int64_t{1}},
                                                {"groups", int64_t{2}},
                                                {"activation", std::string("none")}}}};

/// x [n,h,w,c], `o` windows of k
OpCase conv_case(const Shape& x, int64_t o, ByAxis k, const ops::Conv2dOptions& options, bool bias,
                 Activation f) {
  const ConvShape s{x[0],     x[1],           x[2],        x[3],           o,          k.down,
                    k.across, options.stride, options.pad, options.groups, DType::f32, options.dilation};
  const int64_t gc = s.c / s.groups, go = s.o / s.groups;
  OpCase c;
  c.inputs = {x, {o, s.kh, s.kw, gc}};
  if (bias) c.inputs.push_back({o});
  c.op = [=](const auto& v) { return ops::conv2d(v[0], v[1], bias ? v[2] : Variable(), options, f); };
  c.reference = [=](const auto& v) {
    Doubles y;
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t oy = 0; oy < s.out_h(); ++oy)
        for (int64_t ox = 0; ox < s.out_w(); ++ox)
          for (int64_t out = 0; out < o; ++out) {
            double z = bias ? v[2][static_cast<size_t>(out)] : 0;
            for (int64_t ky = 0; ky < s.kh; ++ky)
              for (int64_t kx = 0; kx < s.kw; ++kx) {
                const int64_t py = oy * s.stride.down - s.pad.top + ky * s.dilation.down,
                              px = ox * s.stride.across - s.pad.left + kx * s.dilation.across;
                if (py < 0 || py >= s.h || px < 0 || px >= s.w) continue;
                for (int64_t i = 0; i < gc; ++i)
                  z += v[0][static_cast<size_t>(((n * s.h + py) * s.w + px) * s.c + out / go * gc + i)] *
                       v[1][static_cast<size_t>(((out * s.kh + ky) * s.kw + kx) * gc + i)];
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
  check(conv_case({2, 9, 8, 3}, 5, {3, 2}, {.stride = {2, 1}, .pad = {0, 1, 2, 1}}, true, Activation::none));
  check(conv_case({1, 9, 10, 4}, 4, 3, {.pad = 2, .groups = 2, .dilation = 2}, true, Activation::relu));
  check(conv_case({2, 8, 9, 5}, 5, {1, 3}, {.pad = {0, 3}, .groups = 5, .dilation = {1, 3}}, false,
                  Activation::none));
}

// Recorded from torch 2: x holds 7 i mod 30 - 11, w 5 i mod 7 - 3.
TEST(Conv2d, DilatesAndPadsAsPyTorch) {
  Tensor image = Tensor::zeros({1, 5, 6, 1}), weight = Tensor::zeros({1, 3, 2, 1});
  for (int64_t i = 0; i < 30; ++i) image.f32()[i] = static_cast<float>(7 * i % 30 - 11);
  for (int64_t i = 0; i < 6; ++i) weight.f32()[i] = static_cast<float>(5 * i % 7 - 3);
  const Variable x(image), w(weight);
  const Variable dilated = ops::conv2d(x, w, {}, {.stride = {2, 1}, .pad = {2, 1}, .dilation = {2, 3}});
  EXPECT_EQ(dilated.shape(), (Shape{1, 3, 5, 1}));
  EXPECT_TRUE(
      near(dilated.value(), Doubles{-9, 23, -53, 21, 12, 3, 64, 71, -72, -36, 12, -27, 42, 21, -12}, 1e-6));
  const Variable uneven = ops::conv2d(x, w, {}, {.stride = 2, .pad = {0, 1, 2, 0}});
  EXPECT_EQ(uneven.shape(), (Shape{1, 3, 3, 1}));
  EXPECT_TRUE(near(uneven.value(), Doubles{-11, -45, 29, 43, 39, 23, 14, -60, 16}, 1e-6));
}

// What a weight was laid out for once is not taken for another window.
TEST(Conv2d, PreparedWeightsAreThoseOfTheirWindow) {
  const Variable x(random_tensor({1, 9, 9, 64}, 1)), w(random_tensor({512, 3, 3, 64}, 2));
  const ops::Conv2dOptions all[] = {{.stride = 4, .pad = 2},
                                    {.stride = 4, .pad = 2, .dilation = 2},
                                    {.stride = {4, 2}, .pad = 2, .dilation = {1, 2}},
                                    {.stride = 4, .pad = {1, 2, 0, 1}}};
  const NoGradient off;
  const FixedWeights fixed;
  for (const auto& options : all) {
    const Tensor kept = ops::conv2d(x, w, {}, options).value();
    const Variable other(w.value().clone());
    EXPECT_TRUE(near(kept, doubles(ops::conv2d(x, other, {}, options).value().span<float>()), 1e-5));
  }
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
  EXPECT_EQ(message({2, 3, 8, 1}, {1, 2, 3, 1}, {1}, {.pad = {0, 1, 0, 0}, .dilation = {3, 1}}),
            "conv2d: a window of 2x3, dilation 3x1, with padding [0, 1, 0, 0] does not fit an image of 3x8");
  constexpr int64_t huge = std::numeric_limits<int64_t>::max();
  const auto refused = [&](const ops::Conv2dOptions& options) {
    return contains(message({2, 8, 8, 1}, {1, 5, 5, 1}, {1}, options),
                    "expected strides and dilations of 1 to 65536, padding of 0 to 65536");
  };
  EXPECT_TRUE(refused({.stride = 0}));
  EXPECT_TRUE(refused({.stride = {1, -1}}));
  EXPECT_TRUE(refused({.stride = huge}));
  EXPECT_TRUE(refused({.pad = -1}));
  EXPECT_TRUE(refused({.pad = {0, 0, huge, 0}}));
  EXPECT_TRUE(refused({.dilation = {0, 1}}));
  EXPECT_TRUE(refused({.dilation = huge}));
  EXPECT_EQ(message({2, 8, 8, 1}, {4, 3, 3, 1}, {3}), "conv2d: bias has shape [3], expected [4]");
}

}  // namespace
}  // namespace espalier

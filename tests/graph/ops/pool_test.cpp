#include <gtest/gtest.h>

#include "core/cpu/pool_shapes.h"
#include "espalier/graph/ops.h"
#include "graph/op_sample.h"
#include "support/bad_input.h"
#include "support/op_case.h"

namespace espalier {
namespace {

const AddOpSample max_pool2d_sample{
    "max_pool2d",
    {.inputs = {{2, 5, 4, 3}},
     .attributes = {{"window", int64_t{2}}, {"stride", int64_t{1}}, {"pad", int64_t{1}}},
     .low = -9,
     .high = 9}};
const AddOpSample average_pool2d_sample{
    "average_pool2d",
    {.inputs = {{2, 5, 4, 3}},
     .attributes = {{"window", int64_t{2}}, {"stride", int64_t{2}}, {"pad", int64_t{1}}}}};
const AddOpSample global_average_pool_sample{"global_average_pool", {.inputs = {{2, 5, 4, 3}}}};
const AddOpSample adaptive_average_pool2d_sample{
    "adaptive_average_pool2d",
    {.inputs = {{2, 6, 4, 3}}, .attributes = {{"height", int64_t{3}}, {"width", int64_t{2}}}}};

/// A pooling's case by the plainest loops.
OpCase pool_case(bool largest, const PoolShape& s) {
  OpCase c;
  c.inputs = {{s.n, s.h, s.w, s.c}};
  c.op = [=](const auto& v) {
    return largest ? ops::max_pool2d(v[0], s.k, s.stride, s.pad, s.ceil_mode)
                   : ops::average_pool2d(v[0], s.k, s.stride, s.pad, s.ceil_mode, s.count_include_pad);
  };
  c.reference = [=](const auto& v) {
    Doubles y;
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t oy = 0; oy < s.out_h(); ++oy)
        for (int64_t ox = 0; ox < s.out_w(); ++ox)
          for (int64_t channel = 0; channel < s.c; ++channel) {
            double max_value = -1e30, sum = 0, pixels = 0;
            for (int64_t ky = 0; ky < s.k.down; ++ky)
              for (int64_t kx = 0; kx < s.k.across; ++kx) {
                const int64_t py = oy * s.stride.down - s.pad.top + ky,
                              px = ox * s.stride.across - s.pad.left + kx;
                const bool real = py >= 0 && py < s.h && px >= 0 && px < s.w;
                pixels += real || (s.count_include_pad && py < s.h + s.pad.bottom && px < s.w + s.pad.right);
                if (!real) continue;
                const double value = v[0][static_cast<size_t>(((n * s.h + py) * s.w + px) * s.c + channel)];
                max_value = std::max(max_value, value);
                sum += value;
              }
            y.push_back(largest ? max_value : sum / pixels);
          }
    return y;
  };
  return c;
}

void check_both(const PoolShape& s) {
  SCOPED_TRACE(name(s));
  for (const bool largest : {true, false}) check(pool_case(largest, s));
}

TEST(PoolOps, ReferenceAndGradients) {
  check_both({2, 6, 8, 3, 2, 2});
  check_both({1, 7, 5, 17, 3, 2, 1});
  check_both({3, 5, 5, 1, 3, 1});
  check_both({2, 5, 5, 7, 1, 2});
  check_both({2, 4, 4, 9, 4, 4});
  check_both({2, 15, 15, 2, 15, 15});
  for (const PoolShape& s : uneven_pool_shapes()) check_both(s);
  const Variable x(random_tensor({1, 6, 6, 2}, 1));
  EXPECT_TRUE(same_bits(ops::max_pool2d(x, 2).value(), ops::max_pool2d(x, 2, 2).value()))
      << "stride: the window";
}

// Recorded from torch 2: x holds 7 i mod 30 - 11.
TEST(PoolOps, RoundUpAndCountAsPyTorch) {
  Tensor image = Tensor::zeros({1, 5, 6, 1});
  for (int64_t i = 0; i < 30; ++i) image.f32()[i] = static_cast<float>(7 * i % 30 - 11);
  const Variable x(image);
  const auto says = [](const Variable& y, const Shape& shape, const Doubles& numbers) {
    EXPECT_EQ(y.shape(), shape);
    EXPECT_TRUE(near(y.value(), numbers, 1e-6));
  };
  says(ops::max_pool2d(x, 3, 2, 1, true), {1, 3, 4, 1}, {8, 15, 17, 6, 13, 16, 18, 18, 14, 16, 16, 12});
  says(ops::max_pool2d(x, {3, 2}, {2, 3}, {1, 0}, true), {1, 3, 2, 1}, {8, 17, 13, 16, 14, 16});
  says(ops::average_pool2d(x, 3, 2, 1, true), {1, 3, 4, 1},
       {-0.666667, 2.666667, 2, 0, 1, 3.666667, 4.333333, 4, 2, 3.333333, 2.666667, 2});
  says(ops::average_pool2d(x, 3, 2, 1, true, false), {1, 3, 4, 1},
       {-1.5, 4, 3, 0, 1.5, 3.666667, 4.333333, 8, 4.5, 5, 4, 6});
  says(ops::average_pool2d(x, {2, 3}, 2, 0, true), {1, 3, 3, 1}, {2, 6, 4, 1, 5, 5.5, 4, -2, 8.5});
}

TEST(PoolOps, GlobalAverage) {
  for (const Shape& x : {Shape{2, 3, 5, 17}, Shape{3, 1, 1, 1}, Shape{1, 4, 4, 64}}) {
    OpCase c;
    c.inputs = {x};
    c.op = [](const auto& v) { return ops::global_average_pool(v[0]); };
    c.reference = [=](const auto& v) {
      const int64_t pixels = x[1] * x[2];
      Doubles y(static_cast<size_t>(x[0] * x[3]));
      for (int64_t i = 0; i < x.elements(); ++i)
        y[static_cast<size_t>(i / (pixels * x[3]) * x[3] + i % x[3])] +=
            v[0][static_cast<size_t>(i)] / static_cast<double>(pixels);
      return y;
    };
    check(c);
  }
}

TEST(PoolOps, AdaptiveAverage) {
  for (const auto& [x, h, w] : {std::tuple<Shape, int64_t, int64_t>{{2, 6, 6, 17}, 3, 3},
                                {{2, 4, 8, 3}, 1, 2},
                                {{1, 5, 3, 64}, 1, 1},
                                {{1, 6, 8, 3}, 2, 4},
                                {{2, 40, 2, 3}, 2, 1},
                                {{2, 3, 3, 5}, 3, 3}}) {
    SCOPED_TRACE(testing::Message() << x << " to " << h << "x" << w);
    check({.inputs = {x},
           .op = [=](const auto& v) { return ops::adaptive_average_pool2d(v[0], h, w); },
           .reference =
               [=](const auto& v) {
                 const int64_t of_h = x[1] / h, of_w = x[2] / w;
                 Doubles y(static_cast<size_t>(x[0] * h * w * x[3]));
                 for (int64_t i = 0; i < x.elements(); ++i) {
                   const int64_t c = i % x[3], px = i / x[3] % x[2], py = i / (x[3] * x[2]) % x[1],
                                 n = i / (x[3] * x[2] * x[1]);
                   y[static_cast<size_t>(((n * h + py / of_h) * w + px / of_w) * x[3] + c)] +=
                       v[0][static_cast<size_t>(i)] / static_cast<double>(of_h * of_w);
                 }
                 return y;
               }});
  }
  const auto message = [](const Shape& x, int64_t h, int64_t w) {
    return message_of([&] { ops::adaptive_average_pool2d(Variable(Tensor::zeros(x)), h, w); });
  };
  EXPECT_EQ(message({2, 8, 8}, 1, 1), "adaptive_average_pool2d: expects x [N,H,W,C], found [2, 8, 8]");
  EXPECT_EQ(message({2, 8, 6, 3}, 3, 3),
            "adaptive_average_pool2d: 3x3 windows do not divide an image of 8x6");
  EXPECT_EQ(message({2, 8, 6, 3}, 0, 1),
            "adaptive_average_pool2d: 0x1 windows do not divide an image of 8x6");
}

TEST(PoolOps, BadArguments) {
  const auto message = [](const Shape& x, ByAxis k, ByAxis stride, Padding pad) {
    return message_of([&] { ops::max_pool2d(Variable(Tensor::zeros(x)), k, stride, pad); });
  };
  EXPECT_EQ(message({2, 8, 8}, 2, 2, 0), "max_pool2d: expects x [N,H,W,C], found [2, 8, 8]");
  EXPECT_EQ(message({1, 3, 8, 1}, 4, 4, 0), "max_pool2d: a window of 4x4 does not fit an image of 3x8");
  for (const auto& [k, stride, pad] : {std::tuple<ByAxis, ByAxis, Padding>{0, 1, 0},
                                       {16, 1, 0},
                                       {{2, 16}, 1, 0},
                                       {2, -1, 0},
                                       {2, {1, 0}, 0},
                                       {2, std::numeric_limits<int64_t>::max(), 0},
                                       {2, 2, -1},
                                       {2, 2, {0, 0, 2, 0}},
                                       {3, 1, 2}})
    EXPECT_TRUE(contains(message({1, 20, 20, 1}, k, stride, pad),
                         "expected a window of 1 to 15 and padding of at most half of it"));
  EXPECT_TRUE(
      contains(message_of([] { ops::average_pool2d(Variable(Tensor::zeros({2})), 2); }), "average_pool2d: "));
}

}  // namespace
}  // namespace espalier

#include <gtest/gtest.h>

#include "espalier/autograd/ops.h"
#include "support/bad_input.h"
#include "support/op_case.h"

namespace espalier {
namespace {

/// A pooling's case: combine(sum or maximum so far, value), begun with `start`, multiplied by `factor` at the
/// end.
template <class Op, class Combine>
OpCase pool_case(const Shape& x, int64_t k, int64_t stride, int64_t pad, const Op& op, double start,
                 double factor, const Combine& combine) {
  const PoolShape s{x[0], x[1], x[2], x[3], k, stride ? stride : k, pad};
  OpCase c;
  c.inputs = {x};
  c.op = [=](const auto& v) { return op(v[0], k, stride, pad); };
  c.reference = [=](const auto& v) {
    Doubles y;
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t oy = 0; oy < s.out_h(); ++oy)
        for (int64_t ox = 0; ox < s.out_w(); ++ox)
          for (int64_t channel = 0; channel < s.c; ++channel) {
            double value = start;
            for (int64_t ky = 0; ky < k; ++ky)
              for (int64_t kx = 0; kx < k; ++kx) {
                const int64_t py = oy * s.stride - pad + ky, px = ox * s.stride - pad + kx;
                if (py >= 0 && py < s.h && px >= 0 && px < s.w)
                  value =
                      combine(value, v[0][static_cast<size_t>(((n * s.h + py) * s.w + px) * s.c + channel)]);
              }
            y.push_back(value * factor);
          }
    return y;
  };
  return c;
}

void check_both(const Shape& x, int64_t k, int64_t stride, int64_t pad) {
  SCOPED_TRACE(testing::Message() << x << ", window " << k << ", stride " << stride << ", pad " << pad);
  check(pool_case(x, k, stride, pad, ops::max_pool2d, -1e30, 1.0,
                  [](double a, double b) { return std::max(a, b); }));
  check(pool_case(x, k, stride, pad, ops::average_pool2d, 0.0, 1.0 / static_cast<double>(k * k),
                  std::plus<double>()));
}

TEST(PoolOps, ReferenceAndGradients) {
  check_both({2, 6, 8, 3}, 2, 0, 0);
  check_both({1, 7, 5, 17}, 3, 2, 1);
  check_both({3, 5, 5, 1}, 3, 1, 0);
  check_both({2, 5, 5, 7}, 1, 2, 0);
  check_both({2, 4, 4, 9}, 4, 0, 0);
  check_both({2, 15, 15, 2}, 15, 0, 0);
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
  EXPECT_EQ(message({2, 8, 6, 3}, 2, 2), "adaptive_average_pool2d: windows of 4x3 are not square");
}

TEST(PoolOps, BadArguments) {
  const auto message = [](const Shape& x, int64_t k, int64_t stride, int64_t pad) {
    return message_of([&] { ops::max_pool2d(Variable(Tensor::zeros(x)), k, stride, pad); });
  };
  EXPECT_EQ(message({2, 8, 8}, 2, 2, 0), "max_pool2d: expects x [N,H,W,C], found [2, 8, 8]");
  EXPECT_EQ(message({1, 3, 8, 1}, 4, 4, 0), "max_pool2d: a window of 4x4 does not fit an image of 3x8");
  for (const auto& [k, stride, pad] :
       {std::array<int64_t, 3>{0, 1, 0}, {16, 1, 0}, {2, -1, 0}, {2, 2, -1}, {3, 1, 2}})
    EXPECT_TRUE(contains(message({1, 20, 20, 1}, k, stride, pad),
                         "expected a window of 1 to 15 and padding of at most half of it"));
  EXPECT_TRUE(
      contains(message_of([] { ops::average_pool2d(Variable(Tensor::zeros({2})), 2); }), "average_pool2d: "));
}

}  // namespace
}  // namespace espalier

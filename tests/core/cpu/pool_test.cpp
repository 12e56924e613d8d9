#include <gtest/gtest.h>

#include <limits>

#include "core/cpu/pool_shapes.h"
#include "espalier/core/kernels.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier::pool_test {
namespace {

// {n, h, w, c, k, stride, pad}: no overlap, overlap, gaps, padding, odd sizes, one pixel, many images, one
// large image.
const PoolShape shapes[] = {{2, 4, 4, 3, 2, 2, 0},   {1, 7, 5, 17, 3, 2, 1},  {3, 5, 9, 16, 3, 1, 1},
                            {2, 8, 8, 1, 2, 3, 0},   {1, 1, 1, 33, 1, 1, 0},  {2, 15, 15, 7, 15, 15, 0},
                            {1, 6, 6, 5, 4, 2, 2},   {64, 8, 8, 15, 2, 2, 0}, {5, 13, 11, 20, 5, 3, 2},
                            {1, 33, 35, 19, 3, 2, 1}};

size_t in_size(const PoolShape& s) { return static_cast<size_t>(s.n * s.h * s.w * s.c); }
size_t out_size(const PoolShape& s) { return static_cast<size_t>(s.n * s.out_h() * s.out_w() * s.c); }

/// Calls body(output number, input number or -1 in the padding, place in the window).
template <class Body>
void for_places(const PoolShape& s, const Body& body) {
  size_t out = 0;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t y = 0; y < s.out_h(); ++y)
      for (int64_t x = 0; x < s.out_w(); ++x)
        for (int64_t c = 0; c < s.c; ++c, ++out)
          for (int64_t ky = 0; ky < s.k.down; ++ky)
            for (int64_t kx = 0; kx < s.k.across; ++kx) {
              const int64_t py = y * s.stride.down - s.pad.top + ky,
                            px = x * s.stride.across - s.pad.left + kx;
              if (py >= s.h + s.pad.bottom || px >= s.w + s.pad.right) continue;  // nothing is there at all
              const bool real = py >= 0 && py < s.h && px >= 0 && px < s.w;
              body(out, real ? ((n * s.h + py) * s.w + px) * s.c + c : -1,
                   static_cast<uint8_t>(ky * s.k.across + kx));
            }
}

class Pool : public testing::TestWithParam<PoolShape> {
 protected:
  const PoolShape s = GetParam();
  const WithThreads three{3};
};

TEST_P(Pool, MaxForwardAndBackward) {
  // Whole numbers, so that windows have equals: the first wins. All negative: padding must not.
  Floats x = random_floats(static_cast<int64_t>(in_size(s)), 1, -9, -1);
  for (float& v : x) v = std::floor(v);
  Doubles y(out_size(s), -100.0), dx(x.size());
  std::vector<uint8_t> index(y.size());
  std::vector<int64_t> winner(y.size());
  for_places(s, [&](size_t out, int64_t in, uint8_t place) {
    if (in < 0 || x[static_cast<size_t>(in)] <= y[out]) return;
    y[out] = x[static_cast<size_t>(in)];
    index[out] = place;
    winner[out] = in;
  });
  const Floats dy = random_floats(static_cast<int64_t>(y.size()), 2);
  for (size_t out = 0; out < y.size(); ++out) dx[static_cast<size_t>(winner[out])] += dy[out];

  Floats pooled(y.size()), without(y.size());
  std::vector<uint8_t> places(y.size());
  cpu::max_pool_forward(pooled.data(), places.data(), x.data(), s);
  cpu::max_pool_forward(without.data(), nullptr, x.data(), s);
  EXPECT_TRUE(near(pooled, y, 0));
  EXPECT_TRUE(same_bits(pooled, without));
  EXPECT_EQ(places, index);
  check_output(dx, 1e-6, [&](float* gradient, bool accumulate) {
    cpu::max_pool_backward(gradient, dy.data(), places.data(), s, accumulate);
  });
}

TEST_P(Pool, AverageForwardAndBackward) {
  const Floats x = random_floats(static_cast<int64_t>(in_size(s)), 1),
               dy = random_floats(static_cast<int64_t>(out_size(s)), 2);
  Doubles y(dy.size()), dx(x.size());
  Doubles pixels(dy.size());
  for_places(s, [&](size_t out, int64_t in, uint8_t) { pixels[out] += in >= 0 || s.count_include_pad; });
  for_places(s, [&](size_t out, int64_t in, uint8_t) {
    if (in < 0) return;
    y[out] += x[static_cast<size_t>(in)] / pixels[out];
    dx[static_cast<size_t>(in)] += dy[out] / pixels[out];
  });
  Floats pooled(y.size());
  cpu::average_pool_forward(pooled.data(), x.data(), s);
  EXPECT_TRUE(near(pooled, y, 1e-6));
  check_output(dx, 1e-6, [&](float* gradient, bool accumulate) {
    cpu::average_pool_backward(gradient, dy.data(), s, accumulate);
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, Pool, testing::ValuesIn(shapes),
                         [](const auto& info) { return name(info.param); });
INSTANTIATE_TEST_SUITE_P(Uneven, Pool, testing::ValuesIn(uneven_pool_shapes()),
                         [](const auto& info) { return name(info.param); });

TEST(GlobalAveragePool, ForwardAndBackward) {
  const WithThreads three{3};
  for (const int64_t c : {1, 16, 37, 520})
    for (const auto& [n, pixels] : {std::pair<int64_t, int64_t>{1, 1}, {3, 49}, {67, 16}}) {
      SCOPED_TRACE(testing::Message() << n << " images of " << pixels << " pixels, " << c << " channels");
      const Floats x = random_floats(n * pixels * c, 1), dy = random_floats(n * c, 2);
      Doubles y(dy.size()), dx(x.size());
      for (size_t i = 0; i < x.size(); ++i) {
        const size_t channels = static_cast<size_t>(c);
        const size_t out = i / static_cast<size_t>(pixels * c) * channels + i % channels;
        y[out] += x[i] / static_cast<double>(pixels);
        dx[i] = dy[out] / static_cast<double>(pixels);
      }
      Floats pooled(y.size());
      cpu::global_average_pool_forward(pooled.data(), x.data(), n, pixels, c);
      EXPECT_TRUE(near(pooled, y, 1e-6));
      check_output(dx, 1e-6, [&](float* gradient, bool accumulate) {
        cpu::global_average_pool_backward(gradient, dy.data(), n, pixels, c, accumulate);
      });
    }
}

TEST(MaxPool, KeepsNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const PoolShape s{1, 2, 2, 3, 2, 2, 0};
  for (size_t place = 0; place < 4; ++place) {
    Floats x = random_floats(12, 1);
    x[place * 3 + 1] = nan;
    Floats y(3);
    std::vector<uint8_t> index(3);
    cpu::max_pool_forward(y.data(), index.data(), x.data(), s);
    EXPECT_TRUE(std::isnan(y[1])) << "NaN at place " << place;
    EXPECT_EQ(index[1], place);
    EXPECT_FALSE(std::isnan(y[0]) || std::isnan(y[2]));
  }
}

}  // namespace
}  // namespace espalier::pool_test

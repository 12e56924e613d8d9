#include <gtest/gtest.h>

#include <limits>

#include "core/cpu/pool_shapes.h"
#include "cuda/card.h"
#include "cuda/support.h"

namespace espalier::pool_test {
namespace {

// {n, h, w, c, k, stride, pad}: no overlap, overlap, gaps, padding, odd sizes, one pixel, many images;
// channels in fours and not.
const PoolShape shapes[] = {{2, 4, 4, 3, 2, 2, 0},    {1, 7, 5, 17, 3, 2, 1},  {3, 5, 9, 16, 3, 1, 1},
                            {2, 8, 8, 1, 2, 3, 0},    {1, 1, 1, 33, 1, 1, 0},  {2, 15, 15, 7, 15, 15, 0},
                            {1, 6, 6, 5, 4, 2, 2},    {64, 8, 8, 15, 2, 2, 0}, {5, 13, 11, 20, 5, 3, 2},
                            {1, 33, 35, 64, 3, 2, 1}, {3, 9, 7, 128, 2, 2, 0}, {2, 6, 7, 36, 2, 2, 1}};

struct Sizes {
  explicit Sizes(const PoolShape& s) : in(s.n * s.h * s.w * s.c), out(s.n * s.out_h() * s.out_w() * s.c) {}
  int64_t in, out;
};

using CudaPool = OnCard<>;
class CudaPoolKernels : public OnCard<testing::TestWithParam<PoolShape>> {
 protected:
  const PoolShape s = GetParam();
  const Sizes size{s};
};

TEST_P(CudaPoolKernels, Max) {
  // Whole numbers, so that windows have equals: the first wins. All negative: padding must not. And a NaN.
  Floats x = random_floats(size.in, 1, -9, -1);
  for (float& v : x) v = std::floor(v);
  x[x.size() / 2] = std::nanf("");
  const Floats dy = random_floats(size.out, 2);
  Floats y(dy.size());
  std::vector<uint8_t> index(dy.size());
  cpu::max_pool_forward(y.data(), index.data(), x.data(), s);
  Floats dx(x.size());
  cpu::max_pool_backward(dx.data(), dy.data(), index.data(), s, false);
  for (const int64_t offset : {0, 1}) {
    const OnDevice<float> on_x(x, offset), on_dy(dy, offset), pooled(size.out, offset), without(size.out);
    const OnDevice<uint8_t> places(size.out, offset);
    cuda::max_pool_forward(pooled, places, on_x, s);
    cuda::max_pool_forward(without, nullptr, on_x, s);
    const Floats found = pooled.host(), found_without = without.host();
    for (size_t i = 0; i < y.size(); ++i) {
      ASSERT_TRUE(std::isnan(y[i]) ? std::isnan(found[i]) : found[i] == y[i]) << i;
      ASSERT_TRUE(std::isnan(y[i]) ? std::isnan(found_without[i]) : found_without[i] == y[i]) << i;
    }
    EXPECT_TRUE(pooled.intact() && without.intact());
    EXPECT_TRUE(same(places, index));
    check_on_device(dx, 1e-6, [&](float* gradient, bool accumulate) {
      cuda::max_pool_backward(gradient, on_dy, places, s, accumulate);
    });
  }
}

TEST_P(CudaPoolKernels, Average) {
  const Floats x = random_floats(size.in, 1), dy = random_floats(size.out, 2);
  Floats y(dy.size()), dx(x.size());
  cpu::average_pool_forward(y.data(), x.data(), s);
  cpu::average_pool_backward(dx.data(), dy.data(), s, false);
  for (const int64_t offset : {0, 1}) {
    const OnDevice<float> on_x(x, offset), on_dy(dy, offset), pooled(size.out, offset);
    cuda::average_pool_forward(pooled, on_x, s);
    EXPECT_TRUE(near(pooled, y, 1e-6));
    check_on_device(dx, 1e-6, [&](float* gradient, bool accumulate) {
      cuda::average_pool_backward(gradient, on_dy, s, accumulate);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaPoolKernels, testing::ValuesIn(shapes),
                         [](const auto& info) { return name(info.param); });
INSTANTIATE_TEST_SUITE_P(Uneven, CudaPoolKernels, testing::ValuesIn(uneven_pool_shapes()),
                         [](const auto& info) { return name(info.param); });

TEST_F(CudaPool, GlobalAverage) {
  for (const int64_t n : {1, 9})
    for (const int64_t pixels : {1, 49, 257})
      for (const int64_t c : {1, 3, 37, 64, 132}) {
        SCOPED_TRACE(testing::Message() << n << " x " << pixels << " x " << c);
        const Floats x = random_floats(n * pixels * c, 1), dy = random_floats(n * c, 2);
        Floats y(dy.size()), dx(x.size());
        cpu::global_average_pool_forward(y.data(), x.data(), n, pixels, c);
        cpu::global_average_pool_backward(dx.data(), dy.data(), n, pixels, c, false);
        for (const int64_t offset : {0, 1}) {
          const OnDevice<float> on_x(x, offset), pooled(n * c, offset);
          cuda::global_average_pool_forward(pooled, on_x, n, pixels, c);
          EXPECT_TRUE(near(pooled, y, 1e-6));
        }
        const OnDevice<float> on_dy(dy);
        check_on_device(dx, 1e-6, [&](float* gradient, bool accumulate) {
          cuda::global_average_pool_backward(gradient, on_dy, n, pixels, c, accumulate);
        });
      }
}

TEST_F(CudaPool, SameBits) {
  const PoolShape s{3, 17, 17, 37, 3, 2, 1};
  const Sizes size(s);
  const OnDevice<float> dy(random_floats(size.out, 1)), x(random_floats(size.in, 2)), y(size.out),
      first(size.in), second(size.in);
  const OnDevice<uint8_t> index(size.out);
  cuda::max_pool_forward(y, index, x, s);
  cuda::max_pool_backward(first, dy, index, s, false);
  cuda::max_pool_backward(second, dy, index, s, false);
  EXPECT_TRUE(same(second, first.host()));
}

}  // namespace
}  // namespace espalier::pool_test

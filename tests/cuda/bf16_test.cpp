// Kernels in bf16: what the same kernel makes of the widened numbers in f32, rounded. Sums in another type
// are the same floats. Sizes fill no vector, and memory is aligned or not.
#include "espalier/core/bf16.h"

#include <functional>

#include "cuda/card.h"
#include "cuda/support.h"
#include "support/formulas.h"
#include "support/strided.h"

namespace espalier::bf16_test {
namespace {

using CudaBf16 = OnCard<>;
using Halves = std::vector<bf16>;

Halves halves(const Floats& x) { return {x.begin(), x.end()}; }
Floats floats(const Halves& x) { return {x.begin(), x.end()}; }
Halves random_halves(int64_t n, uint64_t key, double low = -1.0, double high = 1.0) {
  return halves(random_floats(n, key, low, high));
}

/// The same numbers in both types, in device memory.
struct Pair {
  Pair(int64_t n, uint64_t key, int64_t offset = 0)
      : host(random_halves(n, key)), half(host, offset), full(floats(host), offset) {}
  template <class Real>
  const Real* as() const {
    if constexpr (std::is_same_v<Real, float>)
      return full;
    else
      return half;
  }

  Halves host;
  OnDevice<bf16> half;
  OnDevice<float> full;
};

/// kernel(y, accumulate) for y of either type, n numbers, which hold others before.
template <class Kernel>
void check_rounded(int64_t n, int64_t offset, const Kernel& kernel) {
  for (const bool accumulate : {false, true}) {
    SCOPED_TRACE(testing::Message() << n << " at " << offset << ", accumulate " << accumulate);
    const Pair y(n, 77, offset);
    kernel(y.full.data(), accumulate);
    kernel(y.half.data(), accumulate);
    EXPECT_TRUE(same(y.half, halves(y.full.host())));
  }
}

TEST_F(CudaBf16, Casts) {
  for (const int64_t n : {0, 1, 7, 8, 9, 1001, 70001})
    for (const int64_t offset : {0, 1}) {
      const Floats x = random_floats(n, 1);
      const OnDevice<float> from(x, offset);
      const OnDevice<bf16> to(n, offset);
      cuda::cast(to, from, n);
      EXPECT_TRUE(same(to, halves(x)));
      const OnDevice<float> back(n, offset), sum(x, offset);
      cuda::cast(back, to, n, false);
      EXPECT_TRUE(same(back, floats(halves(x))));
      cuda::cast(sum, to, n, true);
      Floats expected = x;
      for (size_t i = 0; i < x.size(); ++i) expected[i] += bf16(x[i]);
      EXPECT_TRUE(same(sum, expected));
    }
}

TEST_F(CudaBf16, Elementwise) {
  for (const int64_t n : {1, 7, 8, 9, 1001, 70001})
    for (const int64_t offset : {0, 1, 4}) {
      const Pair a(n, 1, offset), b(n, 2, offset);
      const OnDevice<float> factor(Floats{0.7f});
      const auto check = [&](const auto& kernel) {
        check_rounded(n, offset, [&]<class Real>(Real* y, bool accumulate) {
          kernel(y, a.as<Real>(), b.as<Real>(), accumulate);
        });
      };
      check([&](auto* y, auto* x, auto* z, bool) { cuda::add(y, x, z, n); });
      check([&](auto* y, auto*, auto*, bool) { cuda::fill(y, 1.2345f, n); });
      check([&](auto* y, auto* x, auto* z, bool add) { cuda::mul(y, x, z, n, add); });
      check([&](auto* y, auto* x, auto*, bool add) { cuda::scale(y, x, 1.7f, n, add); });
      check([&](auto* y, auto* x, auto*, bool add) { cuda::scale_by(y, x, factor, n, add); });
      check([&](auto* y, auto*, auto*, bool add) { cuda::broadcast(y, factor, 0.3f, n, add); });
      check([&](auto* y, auto* x, auto*, bool add) { cuda::dropout(y, x, 0.3f, 5, n, add); });
      for (const Activation f : activations) {
        check([&](auto* y, auto* x, auto*, bool) { cuda::activation_forward(y, x, f, n); });
        check([&](auto* y, auto* x, auto* z, bool add) { cuda::activation_backward(y, x, z, f, n, add); });
      }
    }
}

TEST_F(CudaBf16, Columns) {
  for (const auto& [columns, x_width, y_width] :
       {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {5, 7, 9}, {8, 16, 24}, {37, 101, 40}, {64, 64, 128}})
    for (const int64_t offset : {0, 1}) {
      const int64_t rows = 13;
      const Pair x(rows * x_width, 1, offset);
      check_rounded(rows * y_width, offset, [&]<class Real>(Real* y, bool accumulate) {
        cuda::copy_columns(y, y_width, x.as<Real>(), x_width, columns, rows, accumulate);
      });
    }
}

TEST_F(CudaBf16, BiasGradients) {
  for (const int64_t cols : {1, 5, 8, 37, 64, 101, 512})
    for (const int64_t rows : {1, 7, 300, 2000})
      for (const int64_t offset : {0, 1})
        for (const Activation f : activations) {
          SCOPED_TRACE(testing::Message() << rows << "x" << cols << " at " << offset);
          const Pair dy(rows * cols, 1, offset), saved(rows * cols, 2, offset), dx(rows * cols, 3, offset);
          const OnDevice<float> of_full(cols), of_half(cols);
          const auto run = [&]<class Real>(Real* to, float* db) {
            cuda::activation_bias_backward(to, db, dy.as<Real>(), saved.as<Real>(), f, rows, cols, false,
                                           device_scratch(cuda::rows_scratch(cols)));
          };
          run(dx.full.data(), of_full);
          run(dx.half.data(), of_half);
          if (f != Activation::none) {
            EXPECT_TRUE(same(dx.half, halves(dx.full.host())));
          }
          EXPECT_TRUE(near(of_half, of_full.host()));
        }
}

TEST_F(CudaBf16, Reductions) {
  for (const int64_t n : {1, 3, 1001, 70001})
    for (const int64_t offset : {0, 1}) {
      const Pair x(n, 1, offset);
      const OnDevice<float> of_full(1), of_half(1);
      cuda::sum(of_full, x.full, 0.5f, n, device_scratch(cuda::reduce_scratch()));
      cuda::sum(of_half, x.half, 0.5f, n, device_scratch(cuda::reduce_scratch()));
      EXPECT_TRUE(same(of_half, of_full.host()));
      Halves broken = x.host;
      broken[static_cast<size_t>(n / 2)] = std::numeric_limits<float>::infinity();
      const OnDevice<int64_t> place(1);
      cuda::first_not_finite(place, x.half, n);
      EXPECT_TRUE(same(place, {-1}));
      cuda::first_not_finite(place, OnDevice<bf16>(broken, offset), n);
      EXPECT_TRUE(same(place, {n / 2}));
    }
}

TEST_F(CudaBf16, Images) {
  for (const int64_t channels : {1, 3, 5})
    for (const int64_t side : {1, 3, 8, 32})
      for (const int64_t offset : {0, 1}) {
        const int64_t n = 5, size = side * side * channels;
        std::vector<uint8_t> bytes(static_cast<size_t>(3 * size));
        for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 37);
        const OnDevice<uint8_t> x(bytes);
        const OnDevice<int64_t> rows(std::vector<int64_t>{2, 0, 1, 1, 2});
        const OnDevice<float> scale(random_floats(channels, 6, 0.0, 0.02)), shift(random_floats(channels, 7));
        const std::vector<int32_t> order(static_cast<size_t>(n * side), static_cast<int32_t>(side / 2));
        const OnDevice<int32_t> down(order), across(order);
        check_rounded(n * size, offset, [&](auto* y, bool) {
          cuda::gather_images(y, x, rows, n, side * side, channels, scale, shift);
        });
        const ImageViews views{.x = x,
                               .rows = rows,
                               .down = down,
                               .across = across,
                               .holes = nullptr,
                               .n = n,
                               .h = side,
                               .w = side,
                               .c = channels,
                               .holes_each = 0};
        check_rounded(n * size, offset, [&](auto* y, bool) { cuda::gather_views(y, views, scale, shift); });
      }
}

TEST_F(CudaBf16, Pools) {
  for (const int64_t c : {1, 8, 37, 64})
    for (const int64_t offset : {0, 1})
      for (const PoolShape& s : {PoolShape{3, 8, 8, c, 2, 2}, PoolShape{2, 9, 7, c, 3, 2, 1}}) {
        const int64_t inputs = s.n * s.h * s.w * c, outputs = s.n * s.out_h() * s.out_w() * c;
        const Pair x(inputs, 1, offset), dy(outputs, 2, offset), few(s.n * c, 3, offset);
        const OnDevice<uint8_t> index(outputs, offset);
        check_rounded(outputs, offset,
                      [&]<class Real>(Real* y, bool) { cuda::max_pool_forward(y, index, x.as<Real>(), s); });
        check_rounded(inputs, offset, [&]<class Real>(Real* dx, bool accumulate) {
          cuda::max_pool_backward(dx, dy.as<Real>(), index, s, accumulate);
        });
        check_rounded(outputs, offset,
                      [&]<class Real>(Real* y, bool) { cuda::average_pool_forward(y, x.as<Real>(), s); });
        check_rounded(inputs, offset, [&]<class Real>(Real* dx, bool accumulate) {
          cuda::average_pool_backward(dx, dy.as<Real>(), s, accumulate);
        });
        check_rounded(s.n * c, offset, [&]<class Real>(Real* y, bool) {
          cuda::global_average_pool_forward(y, x.as<Real>(), s.n, s.h * s.w, c);
        });
        check_rounded(inputs, offset, [&]<class Real>(Real* dx, bool accumulate) {
          cuda::global_average_pool_backward(dx, few.as<Real>(), s.n, s.h * s.w, c, accumulate);
        });
      }
}

TEST_F(CudaBf16, StatisticsAndScales) {
  for (const int64_t c : {1, 8, 37, 64, 101})
    for (const int64_t rows : {2, 7, 300, 5000})
      for (const int64_t offset : {0, 1}) {
        SCOPED_TRACE(testing::Message() << rows << "x" << c << " at " << offset);
        const NormShape s{rows, c};
        const Pair x(rows * c, 1, offset), residual(rows * c, 2, offset);
        const OnDevice<float> scale(random_floats(c, 3)), shift(random_floats(c, 4)), mean(c), variance(c),
            mean_of_half(c), variance_of_half(c);
        cuda::channel_statistics({mean, variance}, x.full, s,
                                 device_scratch(cuda::channel_statistics_scratch(s)));
        cuda::channel_statistics({mean_of_half, variance_of_half}, x.half, s,
                                 device_scratch(cuda::channel_statistics_scratch(s)));
        EXPECT_TRUE(near(mean_of_half, mean.host()));
        EXPECT_TRUE(near(variance_of_half, variance.host()));
        for (const Activation f : norm_activations)
          check_rounded(rows * c, offset, [&]<class Real>(Real* y, bool) {
            cuda::scale_shift_forward(y, x.as<Real>(), scale, shift, residual.as<Real>(), f, s);
          });
      }
}

TEST_F(CudaBf16, Strided) {
  for (const StridedCase& c : strided_cases())
    for (const int64_t offset : {0, 1}) {
      SCOPED_TRACE(c.name);
      const Pair x(c.x_numbers, 1, offset);
      check_rounded(c.y_numbers, offset, [&]<class Real>(Real* y, bool accumulate) {
        cuda::copy_strided(y, x.as<Real>(), c.s, accumulate);
      });
    }
}

TEST_F(CudaBf16, RowsByTheirOwnSums) {
  for (const NormShape& s : {NormShape{7, 1}, NormShape{130, 33}, NormShape{9, 192}, NormShape{3, 1500}})
    for (const int64_t offset : {0, 1}) {
      SCOPED_TRACE(testing::Message() << s.rows << "x" << s.c << " at " << offset);
      const int64_t n = s.rows * s.c;
      const Pair x(n, 1, offset), dy(n, 2, offset);
      const OnDevice<float> gamma(random_floats(s.c, 3)), beta(random_floats(s.c, 4)), mean(s.rows),
          rstd(s.rows), of_full(2 * s.c), of_half(2 * s.c);
      const auto scratch = device_scratch(cuda::layer_norm_backward_scratch(s));
      check_rounded(n, offset, [&]<class Real>(Real* y, bool) { cuda::softmax_forward(y, x.as<Real>(), s); });
      check_rounded(n, offset, [&]<class Real>(Real* dx, bool accumulate) {
        cuda::softmax_backward(dx, dy.as<Real>(), x.as<Real>(), s, accumulate);
      });
      check_rounded(n, offset, [&]<class Real>(Real* y, bool) {
        cuda::layer_norm_forward(y, mean, rstd, x.as<Real>(), gamma, beta, 1e-5f, s);
      });
      const auto backward = [&]<class Real>(Real* dx, float* sums, bool accumulate) {
        cuda::layer_norm_backward(
            NormGradientsOf<Real>{.dx = dx, .dgamma = sums, .dbeta = sums + s.c, .add_dx = accumulate},
            LayerNormBackwardOf<Real>{
                .dy = dy.as<Real>(), .x = x.as<Real>(), .gamma = gamma, .mean = mean, .rstd = rstd},
            s, scratch);
      };
      check_rounded(n, offset, [&]<class Real>(Real* dx, bool accumulate) {
        backward(dx, std::is_same_v<Real, float> ? of_full.data() : of_half.data(), accumulate);
      });
      EXPECT_TRUE(near(of_half, of_full.host()));
    }
}

}  // namespace
}  // namespace espalier::bf16_test

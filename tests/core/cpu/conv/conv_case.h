// What the tests of convolution kernels share: the textbook's loops in double precision, and the checks of
// one direction on one shape. A test names its kernels and its shapes.
#pragma once

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "core/cpu/guarded.h"
#include "core/window_name.h"
#include "espalier/core/cpu/conv/taps_weights.h"
#include "espalier/core/cpu/conv/winograd.h"
#include "espalier/core/kernels.h"
#include "espalier/util/error.h"
#include "support/formulas.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier {

/// The signatures of kernels.h's conv2d_*; kernels that lack an argument ignore it.
struct ConvKernels {
  size_t (*forward_scratch)(const ConvShape&, const ConvEpilogue&);
  void (*forward)(float* y, const float* x, const float* w, const void* prepared, const ConvEpilogue&,
                  const ConvShape&, void* scratch);
  size_t (*backward_data_scratch)(const ConvShape&, bool accumulate);
  void (*backward_data)(float* dx, const float* dy, const float* w, const ConvShape&, bool accumulate,
                        void* scratch);
  size_t (*backward_weights_scratch)(const ConvShape&, bool accumulate);
  void (*backward_weights)(float* dw, const float* dy, const float* x, const ConvShape&, bool accumulate,
                           void* scratch);
};

// Of several tests: kernels that serve only some directions, or lack an argument.
inline constexpr ConvKernels winograd{
    cpu::winograd_forward_scratch,
    [](float* y, const float* x, const float* w, const void*, const ConvEpilogue& e, const ConvShape& s,
       void* scratch) { cpu::winograd_forward(y, x, w, e, s, scratch); },
    [](const ConvShape& s, bool) { return cpu::winograd_backward_data_scratch(s); },
    cpu::winograd_backward_data,
    [](const ConvShape& s, bool) { return cpu::winograd_backward_weights_scratch(s); },
    cpu::winograd_backward_weights};
inline constexpr ConvKernels taps{
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    [](const ConvShape& s, bool) { return cpu::taps_backward_weights_scratch(s); },
    cpu::taps_backward_weights};

inline std::string name(const ConvShape& s) {
  return join("n", s.n, "h", s.h, "w", s.w, "c", s.c, "o", s.o, "k", s.kh, "x", s.kw, "s", s.stride, "p",
              name(s.pad), "g", s.groups, "d", s.dilation);
}

/// Numbers of threads: more than some shapes have work for, too.
constexpr int all_thread_counts[] = {2, 3, 1, 5};
using ThreadCounts = std::span<const int>;
constexpr ThreadCounts some_thread_counts = ThreadCounts(all_thread_counts).first(2);

/// One shape with random inputs, and what its convolution is.
struct ConvCase {
  explicit ConvCase(const ConvShape& shape) : s(shape) {}

  const ConvShape s;
  const int64_t gc = s.c / s.groups, go = s.o / s.groups, pixels = s.n * s.out_h() * s.out_w();
  const Floats x = random_floats(s.n * s.h * s.w * s.c, 1), w = random_floats(s.o * s.kh * s.kw * gc, 2),
               dy = random_floats(pixels * s.o, 3);

  /// body(number in y, first number in w, first number in x, how many) for every row of channels that a
  /// product of the convolution runs over
  template <class Body>
  void for_products(const Body& body) const {
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t oy = 0; oy < s.out_h(); ++oy)
        for (int64_t ox = 0; ox < s.out_w(); ++ox)
          for (int64_t o = 0; o < s.o; ++o)
            for (int64_t ky = 0; ky < s.kh; ++ky)
              for (int64_t kx = 0; kx < s.kw; ++kx) {
                const int64_t y = oy * s.stride.down - s.pad.top + ky * s.dilation.down,
                              p = ox * s.stride.across - s.pad.left + kx * s.dilation.across;
                if (y < 0 || y >= s.h || p < 0 || p >= s.w) continue;
                const int64_t yi = ((n * s.out_h() + oy) * s.out_w() + ox) * s.o + o;
                const int64_t wi = ((o * s.kh + ky) * s.kw + kx) * gc;
                const int64_t xi = ((n * s.h + y) * s.w + p) * s.c + o / go * gc;
                for (int64_t c = 0; c < gc; ++c)
                  body(static_cast<size_t>(yi), static_cast<size_t>(wi + c), static_cast<size_t>(xi + c));
              }
  }
  Doubles forward() const {
    Doubles y(dy.size());
    for_products([&](size_t yi, size_t wi, size_t xi) { y[yi] += double{x[xi]} * w[wi]; });
    return y;
  }
  Doubles backward_data() const {
    Doubles dx(x.size());
    for_products([&](size_t yi, size_t wi, size_t xi) { dx[xi] += double{dy[yi]} * w[wi]; });
    return dx;
  }
  Doubles backward_weights() const {
    Doubles dw(w.size());
    for_products([&](size_t yi, size_t wi, size_t xi) { dw[wi] += double{dy[yi]} * x[xi]; });
    return dw;
  }
};

/// f(y scale + shift + residual)
inline Doubles with_epilogue(Doubles y, const ConvEpilogue& e, int64_t channels) {
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t o = i % static_cast<size_t>(channels);
    y[i] = activated(e.f, y[i] * (e.scale ? e.scale[o] : 1.0) + (e.shift ? e.shift[o] : 0.0) +
                              (e.residual ? e.residual[i] : 0.0));
  }
  return y;
}

/// Mean and variance, each to 1e-4 of what it is made of: departures from the center, and their squares.
inline void check_statistics(const ChannelStatistics& actual, const Doubles& y, int64_t channels) {
  const size_t step = static_cast<size_t>(channels);
  const double count = static_cast<double>(y.size() / step);
  for (size_t o = 0; o < step; ++o) {
    const double center = actual.center ? actual.center[o] : 0.0;
    double sum = 0, square = 0;
    for (size_t i = o; i < y.size(); i += step) {
      sum += y[i] - center;
      square += (y[i] - center) * (y[i] - center);
    }
    const double mean = center + sum / count, variance = square / count - sum / count * (sum / count);
    const double rounding = 1e-6 * std::max(1.0, std::abs(mean)), spread = std::sqrt(square / count);
    ASSERT_NEAR(actual.mean[o], mean, 1e-4 * spread + rounding) << "channel " << o;
    ASSERT_NEAR(actual.variance[o], variance, 1e-4 * square / count + rounding * spread) << "channel " << o;
    ASSERT_GE(actual.variance[o], 0) << "channel " << o;
  }
}

/// Every kind of epilogue, numbers of threads in turn; each twice, to the same bits.
inline void check_forward(const ConvKernels& kernels, const ConvCase& c, double tolerance,
                          ThreadCounts counts = some_thread_counts) {
  SCOPED_TRACE(name(c.s));
  const int64_t o = c.s.o;
  const Doubles products = c.forward();
  const Floats scale = random_floats(o, 4, -2, 2), near_shift = random_floats(o, 5),
               far_shift = random_floats(o, 6, 299, 301), little = random_floats(o, 9, -0.2, 0.2),
               around_six = random_floats(o, 10, 4, 8), center = random_floats(o, 7, 299, 301),
               residual = random_floats(c.pixels * o, 8);
  const float *a = scale.data(), *b = near_shift.data(), *far = far_shift.data(), *r = residual.data();
  Guarded mean(static_cast<size_t>(o) * sizeof(float)), variance(static_cast<size_t>(o) * sizeof(float));
  const ChannelStatistics plain{mean.floats(), variance.floats()},
      centered{mean.floats(), variance.floats(), center.data()};
  const ConvEpilogue epilogues[] = {
      {},
      {.shift = b},
      {.f = Activation::relu},
      {.shift = b, .f = Activation::relu},
      {.scale = a, .shift = b, .f = Activation::gelu},
      {.scale = little.data(), .shift = around_six.data(), .f = Activation::relu6},
      {.f = Activation::hard_swish},
      {.shift = b, .residual = r, .f = Activation::leaky_relu},
      {.scale = a, .residual = r},
      {.scale = a, .shift = b, .residual = r, .f = Activation::relu},
      {.statistics = plain},
      {.shift = far, .statistics = centered},
      {.scale = a, .shift = far, .residual = r, .f = Activation::relu, .statistics = centered},
  };
  size_t turn = 0;
  for (const ConvEpilogue& e : epilogues) {
    const WithThreads some(counts[turn++ % counts.size()]);
    SCOPED_TRACE("epilogue " + std::to_string(&e - epilogues) + ", " + std::to_string(threads()) +
                 " threads");
    const Doubles expected = with_epilogue(products, e, o);
    Floats first;
    for (int round = 0; round < 2; ++round) {
      Guarded y(expected.size() * sizeof(float)), scratch(kernels.forward_scratch(c.s, e));
      kernels.forward(y.floats(), c.x.data(), c.w.data(), nullptr, e, c.s, scratch.raw());
      if (round > 0) {
        ASSERT_TRUE(same_bits<float>(first, y.span()));
        continue;
      }
      ASSERT_TRUE(near(y.span(), expected, tolerance));
      if (e.statistics.mean) check_statistics(e.statistics, expected, o);
      first.assign(y.span().begin(), y.span().end());
    }
  }
}

/// kernel(gradient, accumulate, scratch) on each number of threads; twice, to the same bits.
template <class Bytes, class Kernel>
void check_gradient(const ConvCase& c, const Doubles& expected, double tolerance, ThreadCounts counts,
                    const Bytes& scratch_bytes, const Kernel& kernel) {
  SCOPED_TRACE(name(c.s));
  for (const int count : counts) {
    const WithThreads some(count);
    SCOPED_TRACE(std::to_string(count) + " threads");
    check_output(expected, tolerance, [&](float* gradient, bool accumulate) {
      const Floats before(gradient, gradient + expected.size());
      for (int round = 0; round < 2; ++round) {
        Guarded result(expected.size() * sizeof(float)), scratch(scratch_bytes(c.s, accumulate));
        if (accumulate) std::copy(before.begin(), before.end(), result.floats());
        kernel(result.floats(), accumulate, scratch.raw());
        if (round > 0) {
          EXPECT_TRUE(same_bits<float>({gradient, expected.size()}, result.span()));
        }
        std::copy_n(result.floats(), expected.size(), gradient);
      }
    });
    if (testing::Test::HasFailure()) return;
  }
}
inline void check_backward_data(const ConvKernels& kernels, const ConvCase& c, double tolerance,
                                ThreadCounts counts = some_thread_counts) {
  check_gradient(c, c.backward_data(), tolerance, counts, kernels.backward_data_scratch,
                 [&](float* dx, bool accumulate, void* scratch) {
                   kernels.backward_data(dx, c.dy.data(), c.w.data(), c.s, accumulate, scratch);
                 });
}
inline void check_backward_weights(const ConvKernels& kernels, const ConvCase& c, double tolerance,
                                   ThreadCounts counts = some_thread_counts) {
  check_gradient(c, c.backward_weights(), tolerance, counts, kernels.backward_weights_scratch,
                 [&](float* dw, bool accumulate, void* scratch) {
                   kernels.backward_weights(dw, c.dy.data(), c.x.data(), c.s, accumulate, scratch);
                 });
}

/// A NaN in any channel of a pixel reaches every output that reads the pixel, through relu.
inline void check_nan(const ConvKernels& kernels, const ConvShape& s) {
  ConvCase c(s);
  SCOPED_TRACE(name(s));
  const Floats residual(c.dy.size());
  const ConvEpilogue e{.residual = residual.data(), .f = Activation::relu};
  for (size_t place = 0; place < c.x.size(); place += c.x.size() / 5 + 1) {
    Floats x = c.x;
    x[place] = std::numeric_limits<float>::quiet_NaN();
    Floats y(c.dy.size());
    Guarded scratch(kernels.forward_scratch(s, e));
    kernels.forward(y.data(), x.data(), c.w.data(), nullptr, e, s, scratch.raw());
    bool reached = true;
    c.for_products([&](size_t yi, size_t, size_t xi) { reached &= xi != place || std::isnan(y[yi]); });
    EXPECT_TRUE(reached) << "NaN at " << place;
  }
}

/// check(case, numbers of threads): the small shapes with one number each, in turn, the others with all.
template <class Check>
void for_shapes(const std::vector<ConvShape>& small, std::span<const ConvShape> others, const Check& check) {
  for (size_t i = 0; i < small.size() && !testing::Test::HasFailure(); ++i)
    check(ConvCase(small[i]), ThreadCounts(all_thread_counts).subspan(i % 4, 1));
  for (const ConvShape& s : others)
    if (!testing::Test::HasFailure()) check(ConvCase(s), ThreadCounts(all_thread_counts));
}

/// Prepared weights give the bits of unprepared ones; false if the kernel prepares nothing for this shape.
inline bool check_prepared(const ConvKernels& kernels, size_t (*bytes)(const ConvShape&),
                           void (*prepare)(void*, const float*, const ConvShape&), const ConvShape& s,
                           double tolerance = 0) {
  const ConvCase c(s);
  SCOPED_TRACE(name(s));
  const size_t size = bytes(s);
  if (size == 0) return false;
  const Floats b = random_floats(s.o, 5);
  const ConvEpilogue e{.shift = b.data(), .f = Activation::relu};
  Guarded prepared(size), scratch(kernels.forward_scratch(s, e));
  prepare(prepared.raw(), c.w.data(), s);
  Floats once(c.dy.size()), twice(c.dy.size());
  kernels.forward(once.data(), c.x.data(), c.w.data(), nullptr, e, s, scratch.raw());
  Guarded again(kernels.forward_scratch(s, e));
  const Floats gone(c.w.size(), 9.0f);  // the weight itself is not read any more
  kernels.forward(twice.data(), c.x.data(), gone.data(), prepared.raw(), e, s, again.raw());
  EXPECT_TRUE(tolerance > 0 ? near(twice, doubles(once), tolerance) : same_bits(once, twice));
  return true;
}

}  // namespace espalier

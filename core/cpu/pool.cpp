// Pooling on NHWC: vectors run along the channels, threads along the images' rows.
#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/pool.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

/// The part of a window that lies on an image of n pixels, in one direction.
struct Window {
  int64_t start, first, last;  // start may be negative; pixels first .. last-1 are real
  int64_t padded;              // the end of its pixels and those of the padding
  Window(int64_t out, const WindowAxis& a, int64_t n)
      : start(out * a.stride - a.before),
        first(std::max<int64_t>(start, 0)),
        last(std::min(start + a.size, n)),
        padded(std::min(start + a.size, n + a.behind)) {}
};

/// What each pixel of a window is of its mean.
struct Shares {
  explicit Shares(const PoolShape& s)
      : by_window(!s.same_shares()),
        pads(s.count_include_pad),
        same(1.0f / static_cast<float>(s.k.down * s.k.across)) {}
  float of(const Window& v, const Window& h) const {
    if (!by_window) return same;
    const int64_t pixels =
        pads ? (v.padded - v.start) * (h.padded - h.start) : (v.last - v.first) * (h.last - h.first);
    return 1.0f / static_cast<float>(pixels);
  }
  bool by_window, pads;
  float same;
};

/// The windows that hold a pixel, in one direction: first .. last-1 of `count`.
struct Windows {
  int64_t first, last;
  Windows(int64_t pixel, const WindowAxis& a, int64_t count)
      : first(pixel + a.before < a.size ? 0 : (pixel + a.before - a.size) / a.stride + 1),
        last(std::min((pixel + a.before) / a.stride + 1, count)) {}
};

/// Rows of `width` pixels that a thread should have at least.
int64_t grain(const PoolShape& s, int64_t width) { return std::max<int64_t>(1, 8192 / (width * s.c)); }

/// Calls body(output pixel, vertical window, horizontal window, image) for every output pixel.
template <class Body>
void for_windows(const PoolShape& s, const Body& body) {
  const int64_t oh = s.out_h(), ow = s.out_w();
  const WindowAxis down = s.down(), across = s.across();
  parallel_for(s.n * oh, grain(s, ow), [=](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t row = begin; row < end; ++row) {
      const Window v(row % oh, down, s.h);
      for (int64_t x = 0; x < ow; ++x) body(row * ow + x, v, Window(x, across, s.w), row / oh);
    }
  });
}

HWY_INLINE int64_t pixel(const PoolShape& s, int64_t n, int64_t y, int64_t x) {
  return ((n * s.h + y) * s.w + x) * s.c;
}

template <bool indexed>
void max_pool(float* y, uint8_t* index, const float* x, const PoolShape& s) {
  for_windows(s, [=](int64_t out, Window v, Window h, int64_t n) HWY_ATTR {
    for_vectors(0, s.c, [&](auto tail, int64_t i) HWY_ATTR {
      const Integers places;
      const int64_t left = s.c - i;
      const auto place_of = [&](int64_t py, int64_t px) HWY_ATTR {
        return hn::Set(places, static_cast<int32_t>((py - v.start) * s.k.across + px - h.start));
      };
      auto best = load(tail, x + pixel(s, n, v.first, h.first) + i, left);
      auto place = place_of(v.first, h.first);
      for (int64_t py = v.first; py < v.last; ++py)
        for (int64_t px = h.first; px < h.last; ++px) {
          const auto value = load(tail, x + pixel(s, n, py, px) + i, left);
          const auto wins = hn::Or(hn::Gt(value, best), hn::IsNaN(value));  // a NaN is not to be lost
          best = hn::IfThenElse(wins, value, best);
          if (indexed) place = hn::IfThenElse(hn::RebindMask(places, wins), place_of(py, px), place);
        }
      store(tail, best, y + out * s.c + i, left);
      if (indexed) store_bytes(tail, place, index + out * s.c + i, left);
    });
  });
}

void max_pool_forward(float* y, uint8_t* index, const float* x, const PoolShape& s) {
  index ? max_pool<true>(y, index, x, s) : max_pool<false>(y, index, x, s);
}

void average_pool_forward(float* y, const float* x, const PoolShape& s) {
  const Shares shares(s);
  for_windows(s, [=](int64_t out, Window v, Window h, int64_t n) HWY_ATTR {
    const float share = shares.of(v, h);
    for_vectors(0, s.c, [&](auto tail, int64_t i) HWY_ATTR {
      auto sum = hn::Zero(Floats());
      for (int64_t py = v.first; py < v.last; ++py)
        for (int64_t px = h.first; px < h.last; ++px)
          sum = hn::Add(sum, load(tail, x + pixel(s, n, py, px) + i, s.c - i));
      const auto mean = hn::Mul(sum, hn::Set(Floats(), share));
      store(tail, mean, y + out * s.c + i, s.c - i);
    });
  });
}

/// dx = the sum of share(tail, place in dy, left, oy, ox, place in the window) over the windows oy, ox that
/// hold a pixel: it is written once, however they overlap.
template <class Share>
void gather_shares(float* dx, const PoolShape& s, bool accumulate, const Share& share) {
  const int64_t oh = s.out_h(), ow = s.out_w();
  const WindowAxis down = s.down(), across = s.across();
  parallel_for(s.n * s.h, grain(s, s.w), [=](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / s.h, y = row % s.h;
      const Windows v(y, down, oh);
      for (int64_t x = 0; x < s.w; ++x) {
        const Windows h(x, across, ow);
        for_vectors(0, s.c, [&](auto tail, int64_t i) HWY_ATTR {
          auto sum = hn::Zero(Floats());
          for (int64_t oy = v.first; oy < v.last; ++oy)
            for (int64_t ox = h.first; ox < h.last; ++ox) {
              const int64_t place =
                  (y + down.before - oy * down.stride) * across.size + x + across.before - ox * across.stride;
              sum = hn::Add(sum, share(tail, ((n * oh + oy) * ow + ox) * s.c + i, s.c - i, oy, ox, place));
            }
          put(tail, sum, dx + (row * s.w + x) * s.c + i, s.c - i, accumulate);
        });
      }
    }
  });
}

void max_pool_backward(float* dx, const float* dy, const uint8_t* index, const PoolShape& s,
                       bool accumulate) {
  gather_shares(
      dx, s, accumulate, [=](auto tail, int64_t at, int64_t left, int64_t, int64_t, int64_t place) HWY_ATTR {
        const auto mine =
            hn::Eq(load_bytes(tail, index + at, left), hn::Set(Floats(), static_cast<float>(place)));
        return hn::IfThenElseZero(mine, load(tail, dy + at, left));
      });
}

void average_pool_backward(float* dx, const float* dy, const PoolShape& s, bool accumulate) {
  const Shares shares(s);
  const WindowAxis down = s.down(), across = s.across();
  const auto run = [&](auto by_window) HWY_ATTR {
    gather_shares(dx, s, accumulate,
                  [=](auto tail, int64_t at, int64_t left, int64_t oy, int64_t ox, int64_t) HWY_ATTR {
                    float share = shares.same;
                    if constexpr (by_window) share = shares.of({oy, down, s.h}, {ox, across, s.w});
                    return hn::Mul(load(tail, dy + at, left), hn::Set(Floats(), share));
                  });
  };
  shares.by_window ? run(std::true_type()) : run(std::false_type());
}

void global_average_pool_forward(float* y, const float* x, int64_t n, int64_t pixels, int64_t c) {
  const float share = 1.0f / static_cast<float>(pixels);
  parallel_for(n, std::max<int64_t>(1, 16384 / (pixels * c)), [=](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t image = begin; image < end; ++image) {
      for_vectors(0, c, [&](auto tail, int64_t k) HWY_ATTR {
        const float* from = x + image * pixels * c + k;
        auto sum = hn::Zero(Floats());
        for (int64_t p = 0; p < pixels; ++p) sum = hn::Add(sum, load(tail, from + p * c, c - k));
        store(tail, hn::Mul(sum, hn::Set(Floats(), share)), y + image * c + k, c - k);
      });
    }
  });
}

void global_average_pool_backward(float* dx, const float* dy, int64_t n, int64_t pixels, int64_t c,
                                  bool accumulate) {
  const float share = 1.0f / static_cast<float>(pixels);
  parallel_for(n * pixels, std::max<int64_t>(1, 16384 / c), [=](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t p = begin; p < end; ++p) {
      const float* from = dy + p / pixels * c;
      for_vectors(0, c, [&](auto tail, int64_t k) HWY_ATTR {
        put(tail, hn::Mul(load(tail, from + k, c - k), hn::Set(Floats(), share)), dx + p * c + k, c - k,
            accumulate);
      });
    }
  });
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

void max_pool_forward(float* y, uint8_t* index, const float* x, const PoolShape& s) {
  ESP_DISPATCH(max_pool_forward)(y, index, x, s);
}
void max_pool_backward(float* dx, const float* dy, const uint8_t* index, const PoolShape& s,
                       bool accumulate) {
  ESP_DISPATCH(max_pool_backward)(dx, dy, index, s, accumulate);
}
void average_pool_forward(float* y, const float* x, const PoolShape& s) {
  ESP_DISPATCH(average_pool_forward)(y, x, s);
}
void average_pool_backward(float* dx, const float* dy, const PoolShape& s, bool accumulate) {
  ESP_DISPATCH(average_pool_backward)(dx, dy, s, accumulate);
}

void global_average_pool_forward(float* y, const float* x, int64_t n, int64_t pixels, int64_t c) {
  ESP_DISPATCH(global_average_pool_forward)(y, x, n, pixels, c);
}
void global_average_pool_backward(float* dx, const float* dy, int64_t n, int64_t pixels, int64_t c,
                                  bool accumulate) {
  ESP_DISPATCH(global_average_pool_backward)(dx, dy, n, pixels, c, accumulate);
}

}  // namespace espalier::cpu
#endif

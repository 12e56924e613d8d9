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

/// The part of a window that lies on the image, in one direction.
struct Window {
  int64_t start, first, last;  // start may be negative; pixels first .. last-1 are real
  Window(int64_t out, const PoolShape& s, int64_t size)
      : start(out * s.stride - s.pad),
        first(std::max<int64_t>(start, 0)),
        last(std::min(start + s.k, size)) {}
};

/// Calls body(output pixel, vertical window, horizontal window, image) for every output pixel, by image:
/// windows may overlap, so that a gradient belongs to one thread alone.
template <class Body>
void for_windows(const PoolShape& s, const Body& body) {
  const int64_t oh = s.out_h(), ow = s.out_w();
  parallel_for(s.n, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, oh * ow * s.c)),
               [=](int64_t begin, int64_t end) {
                 for (int64_t n = begin; n < end; ++n)
                   for (int64_t y = 0; y < oh; ++y)
                     for (int64_t x = 0; x < ow; ++x)
                       body((n * oh + y) * ow + x, Window(y, s, s.h), Window(x, s, s.w), n);
               });
}

HWY_INLINE int64_t pixel(const PoolShape& s, int64_t n, int64_t y, int64_t x) {
  return ((n * s.h + y) * s.w + x) * s.c;
}

void max_pool_forward(float* y, uint8_t* index, const float* x, const PoolShape& s) {
  for_windows(s, [=](int64_t out, Window v, Window h, int64_t n) HWY_ATTR {
    for_vectors(0, s.c, [&](auto tail, int64_t i) HWY_ATTR {
      const Floats d;
      const int64_t left = s.c - i;
      auto best = load(tail, x + pixel(s, n, v.first, h.first) + i, left);
      auto place = hn::Set(d, static_cast<float>((v.first - v.start) * s.k + h.first - h.start));
      for (int64_t py = v.first; py < v.last; ++py)
        for (int64_t px = h.first; px < h.last; ++px) {
          const auto value = load(tail, x + pixel(s, n, py, px) + i, left);
          const auto wins = hn::Or(hn::Gt(value, best), hn::IsNaN(value));  // a NaN is not to be lost
          best = hn::IfThenElse(wins, value, best);
          place = hn::IfThenElse(wins, hn::Set(d, static_cast<float>((py - v.start) * s.k + px - h.start)),
                                 place);
        }
      store(tail, best, y + out * s.c + i, left);
      if (!index) return;
      HWY_ALIGN float places[hn::MaxLanes(d)];
      hn::Store(place, d, places);
      const int64_t lanes = std::min<int64_t>(left, static_cast<int64_t>(hn::Lanes(d)));
      for (int64_t lane = 0; lane < lanes; ++lane)
        index[out * s.c + i + lane] = static_cast<uint8_t>(places[lane]);
    });
  });
}

void max_pool_backward(float* dx, const float* dy, const uint8_t* index, const PoolShape& s) {
  for_windows(s, [=](int64_t out, Window v, Window h, int64_t n) HWY_ATTR {
    for (int64_t py = v.first; py < v.last; ++py)
      for (int64_t px = h.first; px < h.last; ++px) {
        const auto place = hn::Set(Floats(), static_cast<float>((py - v.start) * s.k + px - h.start));
        float* to = dx + pixel(s, n, py, px);
        for_vectors(0, s.c, [&](auto tail, int64_t i) HWY_ATTR {
          const int64_t left = s.c - i, at = out * s.c + i;
          const auto mine = hn::Eq(load_bytes(tail, index + at, left), place);
          put(tail, hn::IfThenElseZero(mine, load(tail, dy + at, left)), to + i, left, true);
        });
      }
  });
}

void average_pool_forward(float* y, const float* x, const PoolShape& s) {
  for_windows(s, [=](int64_t out, Window v, Window h, int64_t n) HWY_ATTR {
    for_vectors(0, s.c, [&](auto tail, int64_t i) HWY_ATTR {
      auto sum = hn::Zero(Floats());
      for (int64_t py = v.first; py < v.last; ++py)
        for (int64_t px = h.first; px < h.last; ++px)
          sum = hn::Add(sum, load(tail, x + pixel(s, n, py, px) + i, s.c - i));
      const auto mean = hn::Mul(sum, hn::Set(Floats(), 1.0f / static_cast<float>(s.k * s.k)));
      store(tail, mean, y + out * s.c + i, s.c - i);
    });
  });
}

void average_pool_backward(float* dx, const float* dy, const PoolShape& s) {
  for_windows(s, [=](int64_t out, Window v, Window h, int64_t n) HWY_ATTR {
    const auto share = hn::Set(Floats(), 1.0f / static_cast<float>(s.k * s.k));
    for (int64_t py = v.first; py < v.last; ++py)
      for (int64_t px = h.first; px < h.last; ++px) {
        float* to = dx + pixel(s, n, py, px);
        for_vectors(0, s.c, [&](auto tail, int64_t i) HWY_ATTR {
          put(tail, hn::Mul(load(tail, dy + out * s.c + i, s.c - i), share), to + i, s.c - i, true);
        });
      }
  });
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

HWY_EXPORT(max_pool_forward);
HWY_EXPORT(max_pool_backward);
HWY_EXPORT(average_pool_forward);
HWY_EXPORT(average_pool_backward);
HWY_EXPORT(global_average_pool_forward);
HWY_EXPORT(global_average_pool_backward);

namespace {
void clear(float* dx, const PoolShape& s, bool accumulate) {
  if (!accumulate) set_bytes(dx, 0, sizeof(float) * static_cast<size_t>(s.n * s.h * s.w * s.c));
}
}  // namespace

void max_pool_forward(float* y, uint8_t* index, const float* x, const PoolShape& s) {
  ESP_DISPATCH(max_pool_forward)(y, index, x, s);
}
void max_pool_backward(float* dx, const float* dy, const uint8_t* index, const PoolShape& s,
                       bool accumulate) {
  clear(dx, s, accumulate);
  ESP_DISPATCH(max_pool_backward)(dx, dy, index, s);
}
void average_pool_forward(float* y, const float* x, const PoolShape& s) {
  ESP_DISPATCH(average_pool_forward)(y, x, s);
}
void average_pool_backward(float* dx, const float* dy, const PoolShape& s, bool accumulate) {
  clear(dx, s, accumulate);
  ESP_DISPATCH(average_pool_backward)(dx, dy, s);
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

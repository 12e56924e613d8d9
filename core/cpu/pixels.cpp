// One number an image and channel beside all pixels of the image: memory speed. Vectors run along the
// channels.
#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/pixels.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

/// Calls body(tail, place in x, place in s, left) for every vector of channels of every pixel.
template <class Body>
void for_pixels(int64_t n, int64_t pixels, int64_t c, const Body& body) {
  parallel_for(n * pixels, std::max<int64_t>(1, 16384 / c), [=](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t p = begin; p < end; ++p)
      for_vectors(0, c,
                  [&](auto tail, int64_t k) HWY_ATTR { body(tail, p * c + k, p / pixels * c + k, c - k); });
  });
}

void add_to_pixels(float* y, const float* x, const float* s, int64_t n, int64_t pixels, int64_t c) {
  for_pixels(n, pixels, c, [=](auto tail, int64_t at, int64_t of_image, int64_t left) HWY_ATTR {
    store(tail, hn::Add(load(tail, x + at, left), load(tail, s + of_image, left)), y + at, left);
  });
}

void mul_pixels(float* y, const float* x, const float* s, int64_t n, int64_t pixels, int64_t c,
                bool accumulate) {
  for_pixels(n, pixels, c, [=](auto tail, int64_t at, int64_t of_image, int64_t left) HWY_ATTR {
    put(tail, hn::Mul(load(tail, x + at, left), load(tail, s + of_image, left)), y + at, left, accumulate);
  });
}

void sum_pixels(float* s, const float* a, const float* b, int64_t n, int64_t pixels, int64_t c,
                bool accumulate) {
  parallel_for(n, std::max<int64_t>(1, 16384 / (pixels * c)), [=](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t image = begin; image < end; ++image)
      for_vectors(0, c, [&](auto tail, int64_t k) HWY_ATTR {
        auto sum = hn::Zero(Floats());
        for (int64_t p = 0; p < pixels; ++p) {
          const int64_t at = (image * pixels + p) * c + k;
          const auto value = load(tail, a + at, c - k);
          sum = b ? hn::MulAdd(value, load(tail, b + at, c - k), sum) : hn::Add(sum, value);
        }
        put(tail, sum, s + image * c + k, c - k, accumulate);
      });
  });
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

void add_to_pixels(float* y, const float* x, const float* s, int64_t n, int64_t pixels, int64_t c) {
  ESP_DISPATCH(add_to_pixels)(y, x, s, n, pixels, c);
}
void mul_pixels(float* y, const float* x, const float* s, int64_t n, int64_t pixels, int64_t c,
                bool accumulate) {
  ESP_DISPATCH(mul_pixels)(y, x, s, n, pixels, c, accumulate);
}
void sum_pixels(float* s, const float* a, const float* b, int64_t n, int64_t pixels, int64_t c,
                bool accumulate) {
  ESP_DISPATCH(sum_pixels)(s, a, b, n, pixels, c, accumulate);
}

}  // namespace espalier::cpu
#endif

// One number an image and channel beside all pixels of the image, at the speed of memory: each number is
// moved once.
#include "espalier/cuda/pixels.cuh"

#include "espalier/core/kernels.h"

namespace espalier::cuda {
namespace {

/// y [images,pixels,C] = x s, or x + s, with s [images,C]; or y += that.
template <int n, bool products, class Real>
__global__ void __launch_bounds__(pixel_threads)
    with_pixels_kernel(Real* y, const Real* x, const Real* s, int64_t images, int pixels, int c,
                       bool accumulate) {
  const int vectors = c / n;
  if (item() >= pixels * vectors) return;
  const int channel = item() % vectors * n;
  for (int64_t image = blockIdx.y; image < images; image += gridDim.y) {
    const int64_t at = image * pixels * c + int64_t{item()} * n;
    const Vec<float, n> of_image = load<n>(s + image * c + channel);
    Vec<float, n> value = load<n>(x + at);
#pragma unroll
    for (int i = 0; i < n; ++i) value[i] = products ? value[i] * of_image[i] : value[i] + of_image[i];
    if (accumulate) {
      const Vec<float, n> before = load<n>(y + at);
#pragma unroll
      for (int i = 0; i < n; ++i) value[i] += before[i];
    }
    store(y + at, value);
  }
}

template <bool products, class Real>
void with_pixels(Real* y, const Real* x, const Real* s, int64_t n, int64_t pixels, int64_t c,
                 bool accumulate) {
  with_width(
      [&](auto width) {
        launch(with_pixels_kernel<width, products, Real>, by_image(n, pixels * (c / width)),
               std::tuple(y, x, s, n, static_cast<int>(pixels), static_cast<int>(c), accumulate));
      },
      c, y, x, s);
}

template <class Real>
void sums(Real* s, const Real* a, const Real* b, int64_t n, int64_t pixels, int64_t c, bool accumulate) {
  with_width(
      [&](auto width) {
        const PixelSums m(n, pixels, c, width);
        launch(b ? pixel_sum_kernel<width, true, Real> : pixel_sum_kernel<width, false, Real>, m.launch(),
               std::tuple(s, a, b, 1.0f, accumulate, m));
      },
      c, s, a, b);
}

}  // namespace

void add_to_pixels(float* y, const float* x, const float* s, int64_t n, int64_t pixels, int64_t c) {
  with_pixels<false>(y, x, s, n, pixels, c, false);
}
void mul_pixels(float* y, const float* x, const float* s, int64_t n, int64_t pixels, int64_t c,
                bool accumulate) {
  with_pixels<true>(y, x, s, n, pixels, c, accumulate);
}
void sum_pixels(float* s, const float* a, const float* b, int64_t n, int64_t pixels, int64_t c,
                bool accumulate) {
  sums(s, a, b, n, pixels, c, accumulate);
}
void add_to_pixels(bf16* y, const bf16* x, const bf16* s, int64_t n, int64_t pixels, int64_t c) {
  with_pixels<false>(y, x, s, n, pixels, c, false);
}
void mul_pixels(bf16* y, const bf16* x, const bf16* s, int64_t n, int64_t pixels, int64_t c,
                bool accumulate) {
  with_pixels<true>(y, x, s, n, pixels, c, accumulate);
}
void sum_pixels(bf16* s, const bf16* a, const bf16* b, int64_t n, int64_t pixels, int64_t c,
                bool accumulate) {
  sums(s, a, b, n, pixels, c, accumulate);
}

}  // namespace espalier::cuda

// Numbers of images x [n,pixels,C]: a thread has 4 neighbouring channels (1 where they are no multiple of 4,
// or memory is not aligned), and threads follow the order of memory.
#pragma once

#include <algorithm>

#include "espalier/cuda/device.cuh"

namespace espalier::cuda {

constexpr int pixel_threads = 256;

/// The grid for `each` items an image, in the first dimension, of n images, in the second (at most 65535
/// blocks: threads stride).
inline Launch by_image(int64_t n, int64_t each) {
  return {dim3(static_cast<unsigned>(blocks_for(each, pixel_threads)),
               static_cast<unsigned>(std::min<int64_t>(n, 65535))),
          dim3(pixel_threads)};
}
/// Of an image.
__device__ __forceinline__ int item() {
  return static_cast<int>(blockIdx.x) * pixel_threads + static_cast<int>(threadIdx.x);
}

/// Calls body with the number of channels that a thread has, a compile-time constant.
template <class Body, class... P>
void with_width(const Body& body, int64_t c, const P*... pointers) {
  if (c % 4 == 0 && aligned<4>(pointers...))
    body(std::integral_constant<int, 4>());
  else
    body(std::integral_constant<int, 1>());
}

/// How the pixels of images x [images,pixels,C] are dealt out for their sum: a thread adds up the pixels
/// `lane`, `lane` + lanes, ... in n channels, a block has `tiles` of `width` such threads by `lanes`.
struct PixelSums {
  int64_t images, c, count;  // count: of tiles, in all
  int pixels, across;        // tiles next to each other for one image
  int width, lanes, tiles;

  PixelSums(int64_t images_, int64_t pixels_, int64_t c_, int n)
      : images(images_), c(c_), pixels(static_cast<int>(pixels_)) {
    const int64_t vectors = c / n, widest = n == 4 ? 8 : 32;  // 128 bytes of a pixel
    across = static_cast<int>(blocks_for(vectors, widest));
    width = static_cast<int>(blocks_for(vectors, across));
    lanes = 1;
    while (2 * lanes * width <= pixel_threads && lanes * 16 <= pixels) lanes *= 2;  // 8 pixels each, or more
    tiles = pixel_threads / (width * lanes);
    count = images * across;
  }
  Launch launch() const {
    return {dim3(static_cast<unsigned>(blocks_for(count, tiles))), dim3(pixel_threads)};
  }
};

/// y = factor times the sum over the pixels of x, or of x `other`; or y += that.
template <int n, bool products, class Real>
__global__ void __launch_bounds__(pixel_threads)
    pixel_sum_kernel(Real* y, const Real* x, const Real* other, float factor, bool accumulate, PixelSums m) {
  __shared__ float shared[n][pixel_threads];
  const int thread = static_cast<int>(threadIdx.x), lane = thread / m.width % m.lanes,
            tile_of_block = thread / (m.width * m.lanes);
  const int64_t tile = int64_t{blockIdx.x} * m.tiles + tile_of_block, image = tile / m.across,
                k = ((tile - image * m.across) * m.width + thread % m.width) * n;
  const bool active = tile_of_block < m.tiles && tile < m.count && k < m.c;
  Vec<float, n> sum = {};
  if (active) {
    const int64_t begin = image * m.pixels * m.c + k;
    const Real* const from = x + begin;
#pragma unroll 8
    for (int pixel = lane; pixel < m.pixels; pixel += m.lanes) {
      Vec<float, n> value = load<n>(from + pixel * m.c);
      if constexpr (products) {
        const Vec<float, n> times = load<n>(other + begin + pixel * m.c);
#pragma unroll
        for (int i = 0; i < n; ++i) value[i] *= times[i];
      }
#pragma unroll
      for (int i = 0; i < n; ++i) sum[i] += value[i];
    }
  }
#pragma unroll
  for (int i = 0; i < n; ++i) shared[i][thread] = sum[i];
  for (int half = m.lanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (active && lane < half) {
#pragma unroll
      for (int i = 0; i < n; ++i) shared[i][thread] = sum[i] += shared[i][thread + half * m.width];
    }
  }
  if (!active || lane > 0) return;
#pragma unroll
  for (int i = 0; i < n; ++i) sum[i] *= factor;
  if (accumulate) {
    const Vec<float, n> before = load<n>(y + image * m.c + k);
#pragma unroll
    for (int i = 0; i < n; ++i) sum[i] += before[i];
  }
  store(y + image * m.c + k, sum);
}

}  // namespace espalier::cuda

// Batches of images put together from a data set on the device: bytes in, normalised numbers out, in one pass
// (a byte and the output a number).
#include "espalier/core/kernels.h"
#include "espalier/cuda/device.cuh"

namespace espalier::cuda {
namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads)
    gather_labels_kernel(int32_t* y, const int32_t* x, const int64_t* rows, int64_t n) {
  for (int64_t i = int64_t{blockIdx.x} * threads + threadIdx.x; i < n; i += int64_t{gridDim.x} * threads)
    y[i] = x[rows[i]];
}

/// The block's image and the thread's first number in it. An image of `size` numbers has blocks of its own.
struct Position {
  int64_t image;
  int32_t first;
};
template <int width>
__device__ __forceinline__ Position position(int32_t size) {
  const uint32_t tiles = (static_cast<uint32_t>(size) + threads * width - 1) / (threads * width);
  const uint32_t image = blockIdx.x / tiles;
  return {image, static_cast<int32_t>(((blockIdx.x - image * tiles) * threads + threadIdx.x) * width)};
}
template <int width>
Launch blocks_of_images(int64_t n, int64_t size) {
  return {dim3(static_cast<unsigned>(n * blocks_for(size, threads * width))), dim3(threads)};
}

/// `Channels` is the number of channels where that is known at compile time, else 0. Roundings are those of
/// the CPU: one, of the sum.
template <int width, int Channels, class Real>
__global__ void __launch_bounds__(threads)
    gather_images_kernel(Real* y, const uint8_t* x, const int64_t* rows, int32_t size, int32_t channels_,
                         const float* scale, const float* shift) {
  const int32_t channels = Channels ? Channels : channels_;
  const auto [image, first] = position<width>(size);
  if (first >= size) return;
  const auto bytes = load<width>(x + rows[image] * size + first);
  Vec<float, width> out;
  int32_t c = first % channels;
#pragma unroll
  for (int j = 0; j < width; ++j) {
    out[j] = fmaf(static_cast<float>(bytes[j]), scale[c], shift[c]);
    c = c + 1 == channels ? 0 : c + 1;
  }
  store(y + image * size + first, out);
}

template <int width, int Channels, class Real>
__global__ void __launch_bounds__(threads)
    gather_views_kernel(Real* y, ImageViews v, const float* scale, const float* shift) {
  const auto h = static_cast<int32_t>(v.h), w = static_cast<int32_t>(v.w),
             channels = Channels ? Channels : static_cast<int32_t>(v.c), size = h * w * channels;
  const auto [image, first] = position<width>(size);
  if (first >= size) return;
  const uint8_t* const from = v.x + v.rows[image] * size;
  const int32_t* const down = v.down + image * h;
  const int32_t* const across = v.across + image * w;
  const int32_t pixel = first / channels;
  int32_t c = first - pixel * channels, row = pixel / w, column = pixel - row * w;
  Vec<float, width> out;
#pragma unroll
  for (int j = 0; j < width; ++j) {
    const int32_t from_row = down[row], from_column = across[column];
    const bool black = from_row < 0 || from_column < 0;
    const uint8_t byte = black ? uint8_t{0} : from[(from_row * w + from_column) * channels + c];
    out[j] = fmaf(static_cast<float>(byte), scale[c], shift[c]);
    for (const Box* box = v.holes + image * v.holes_each; box < v.holes + (image + 1) * v.holes_each; ++box)
      if (row >= box->top && row < box->bottom && column >= box->left && column < box->right) out[j] = 0;
    if (++c == channels) {
      c = 0;
      if (++column == w) {
        column = 0;
        ++row;
      }
    }
  }
  store(y + image * size + first, out);
}

/// Calls body with the channels as a compile-time constant where they are few kinds of images'.
template <class Body>
void with_channels(int64_t channels, const Body& body) {
  if (channels == 1)
    body(std::integral_constant<int, 1>());
  else if (channels == 3)
    body(std::integral_constant<int, 3>());
  else
    body(std::integral_constant<int, 0>());
}

template <class Real>
void images(Real* y, const uint8_t* x, const int64_t* rows, int64_t n, int64_t pixels, int64_t channels,
            const float* scale, const float* shift) {
  const int64_t size = pixels * channels;
  const bool vectors = size % 4 == 0 && aligned<4>(y, x);
  with_channels(channels, [&](auto known) {
    constexpr int c = decltype(known)::value;
    launch(vectors ? gather_images_kernel<4, c, Real> : gather_images_kernel<1, c, Real>,
           vectors ? blocks_of_images<4>(n, size) : blocks_of_images<1>(n, size),
           std::tuple(y, x, rows, size, channels, scale, shift));
  });
}

template <class Real>
void views_of(Real* y, const ImageViews& views, const float* scale, const float* shift) {
  const int64_t size = views.h * views.w * views.c;
  const bool vectors = size % 4 == 0 && aligned<4>(y);
  with_channels(views.c, [&](auto known) {
    constexpr int c = decltype(known)::value;
    launch(vectors ? gather_views_kernel<4, c, Real> : gather_views_kernel<1, c, Real>,
           vectors ? blocks_of_images<4>(views.n, size) : blocks_of_images<1>(views.n, size),
           std::tuple(y, views, scale, shift));
  });
}

}  // namespace

void gather_labels(int32_t* y, const int32_t* x, const int64_t* rows, int64_t n) {
  if (n > 0) launch(gather_labels_kernel, striding(n, threads), std::tuple(y, x, rows, n));
}

void gather_images(float* y, const uint8_t* x, const int64_t* rows, int64_t n, int64_t pixels,
                   int64_t channels, const float* scale, const float* shift) {
  images(y, x, rows, n, pixels, channels, scale, shift);
}
void gather_views(float* y, const ImageViews& views, const float* scale, const float* shift) {
  views_of(y, views, scale, shift);
}
void gather_images(bf16* y, const uint8_t* x, const int64_t* rows, int64_t n, int64_t pixels,
                   int64_t channels, const float* scale, const float* shift) {
  images(y, x, rows, n, pixels, channels, scale, shift);
}
void gather_views(bf16* y, const ImageViews& views, const float* scale, const float* shift) {
  views_of(y, views, scale, shift);
}

}  // namespace espalier::cuda

// Pooling on NHWC: a thread has 4 neighbouring channels (1 where they are no multiple of 4, or memory is not
// aligned), and threads follow the order of memory. Gradients are gathered: a pixel of dx looks at the
// windows that hold it, in their order, so that it is written once, however they overlap.

#include "espalier/core/kernels.h"
#include "espalier/cuda/pixels.cuh"

namespace espalier::cuda {
namespace {

constexpr int threads = pixel_threads;

/// PoolShape, in the numbers of one image: 32 bits hold those.
struct Image {
  int h, w, c, kh, kw, stride_y, stride_x, top, left, bottom, right, out_h, out_w;
  bool pads;  // padding counts in a mean
  explicit Image(const PoolShape& s)
      : h(static_cast<int>(s.h)),
        w(static_cast<int>(s.w)),
        c(static_cast<int>(s.c)),
        kh(static_cast<int>(s.k.down)),
        kw(static_cast<int>(s.k.across)),
        stride_y(static_cast<int>(s.stride.down)),
        stride_x(static_cast<int>(s.stride.across)),
        top(static_cast<int>(s.pad.top)),
        left(static_cast<int>(s.pad.left)),
        bottom(static_cast<int>(s.pad.bottom)),
        right(static_cast<int>(s.pad.right)),
        out_h(static_cast<int>(s.out_h())),
        out_w(static_cast<int>(s.out_w())),
        pads(s.count_include_pad) {}
  __host__ __device__ int64_t in_size() const { return int64_t{h} * w * c; }
  __host__ __device__ int64_t out_size() const { return int64_t{out_h} * out_w * c; }
};

/// The part of a window that lies on the image, in one direction.
struct Window {
  int start, first, last;  // start may be negative; pixels first .. last-1 are real
  int counted;             // those and, where it counts, the padding's
  __device__ Window(int start_, int k, int size, int behind, bool pads)
      : start(start_),
        first(max(start, 0)),
        last(min(start + k, size)),
        counted(pads ? min(start + k, size + behind) - start : last - first) {}
};
__device__ __forceinline__ Window window_down(int out, const Image& s) {
  return {out * s.stride_y - s.top, s.kh, s.h, s.bottom, s.pads};
}
__device__ __forceinline__ Window window_across(int out, const Image& s) {
  return {out * s.stride_x - s.left, s.kw, s.w, s.right, s.pads};
}
/// What a pixel is of its window's mean.
__device__ __forceinline__ float share_of(const Window& v, const Window& h) {
  return 1.0f / static_cast<float>(v.counted * h.counted);
}

/// One output of n channels: where its window lies, and its place in an image of y.
template <int n>
struct Output {
  int channel, x, y, place;
  __device__ Output(int index, const Image& s) {
    const int vectors = s.c / n, pixel = index / vectors;
    channel = (index - pixel * vectors) * n;
    y = pixel / s.out_w;
    x = pixel - y * s.out_w;
    place = pixel * s.c + channel;
  }
};

/// `side`: the window's, or 0: s.kh x s.kw, known only now.
template <int n, int side, bool indexed, class Real>
__global__ void __launch_bounds__(threads)
    max_pool_kernel(Real* y, uint8_t* index, const Real* x, int64_t images, Image s) {
  if (item() >= s.out_h * s.out_w * (s.c / n)) return;
  const Output<n> out(item(), s);
  const Window v = window_down(out.y, s), h = window_across(out.x, s);
  const int kh = side > 0 ? side : s.kh, kw = side > 0 ? side : s.kw;
  for (int64_t image = blockIdx.y; image < images; image += gridDim.y) {
    const Real* const from = x + image * s.in_size() + out.channel;
    Vec<float, n> best;
    Vec<uint8_t, n> place;
#pragma unroll
    for (int i = 0; i < n; ++i) best[i] = 0, place[i] = 0;
    bool first = true;
#pragma unroll side> 0 ? side : 1
    for (int ky = 0; ky < kh; ++ky)
#pragma unroll side> 0 ? side : 1
      for (int kx = 0; kx < kw; ++kx) {
        const int py = v.start + ky, px = h.start + kx;
        if (py < v.first || py >= v.last || px < h.first || px >= h.last) continue;
        const Vec<float, n> value = load<n>(from + (py * s.w + px) * s.c);
#pragma unroll
        for (int i = 0; i < n; ++i)
          if (first || value[i] > best[i] || value[i] != value[i]) {  // a NaN is not to be lost
            best[i] = value[i];
            if (indexed) place[i] = static_cast<uint8_t>(ky * kw + kx);
          }
        first = false;
      }
    const int64_t to = image * s.out_size() + out.place;
    store(y + to, best);
    if (indexed) store(index + to, place);
  }
}

template <int n, int side, class Real>
__global__ void __launch_bounds__(threads)
    average_pool_kernel(Real* y, const Real* x, float same_share, int64_t images, Image s) {
  if (item() >= s.out_h * s.out_w * (s.c / n)) return;
  const Output<n> out(item(), s);
  const Window v = window_down(out.y, s), h = window_across(out.x, s);
  const int kh = side > 0 ? side : s.kh, kw = side > 0 ? side : s.kw;
  const float share = same_share > 0.0f ? same_share : share_of(v, h);
  for (int64_t image = blockIdx.y; image < images; image += gridDim.y) {
    const Real* const from = x + image * s.in_size() + out.channel;
    Vec<float, n> sum = {};
#pragma unroll side> 0 ? side : 1
    for (int ky = 0; ky < kh; ++ky)
#pragma unroll side> 0 ? side : 1
      for (int kx = 0; kx < kw; ++kx) {
        const int py = v.start + ky, px = h.start + kx;
        if (py < v.first || py >= v.last || px < h.first || px >= h.last) continue;
        const Vec<float, n> value = load<n>(from + (py * s.w + px) * s.c);
#pragma unroll
        for (int i = 0; i < n; ++i) sum[i] += value[i];
      }
#pragma unroll
    for (int i = 0; i < n; ++i) sum[i] *= share;
    store(y + image * s.out_size() + out.place, sum);
  }
}

/// What each output passes on: its gradient to the place of the largest,
template <class Real>
struct ToLargest {
  const Real* dy;
  const uint8_t* index;
  template <int n>
  struct Loaded {
    Vec<float, n> dy;
    Vec<uint8_t, n> index;
    __device__ __forceinline__ float at(int i, int place) const { return index[i] == place ? dy[i] : 0.0f; }
  };
  template <int n>
  __device__ __forceinline__ Loaded<n> read(int64_t at, int, int, const Image&) const {
    return {load<n>(dy + at), load<n>(index + at)};
  }
};
/// or an equal share to all: the same of every window, or (by_window) each window's own.
template <class Real, bool by_window>
struct ToAll {
  const Real* dy;
  float share;
  template <int n>
  struct Loaded {
    Vec<float, n> dy;
    float share;
    __device__ __forceinline__ float at(int i, int) const { return dy[i] * share; }
  };
  template <int n>
  __device__ __forceinline__ Loaded<n> read(int64_t at, int oy, int ox, const Image& s) const {
    if constexpr (by_window)
      return {load<n>(dy + at), share_of(window_down(oy, s), window_across(ox, s))};
    else
      return {load<n>(dy + at), share};
  }
};

/// Blocks on a multiprocessor that pool_backward_kernel's registers have to leave room for. ptxas has to be
/// told: left to itself it spills, on one architecture or another, for the sake of more. Three are enough
/// where a thread writes 64 bytes.
constexpr int backward_blocks(int n, int cell) { return n == 1 || cell == 1 ? 4 : 3; }

/// dx of a cell of `cell` x `cell` pixels in n channels: each window that holds one of them is read once.
/// With strides of 2 and cells of 2, a window of 2 x 2 is read once in all, one of 3 x 3 four times.
template <int n, int cell, class Passed, class Real>
__global__ void __launch_bounds__(threads, backward_blocks(n, cell))
    pool_backward_kernel(Real* dx, Passed passed, int64_t images, Image s, bool accumulate) {
  const int vectors = s.c / n, cells = (s.w + cell - 1) / cell, rows = (s.h + cell - 1) / cell;
  if (item() >= rows * cells * vectors) return;
  const int pixel = item() / vectors, channel = (item() - pixel * vectors) * n;
  // In the numbers of the padded image, which windows start from.
  const int row = pixel / cells, y = row * cell + s.top, x = (pixel - row * cells) * cell + s.left;
  const int first_y = y < s.kh ? 0 : (y - s.kh) / s.stride_y + 1,
            first_x = x < s.kw ? 0 : (x - s.kw) / s.stride_x + 1,
            last_y = min((y + cell - 1) / s.stride_y + 1, s.out_h),
            last_x = min((x + cell - 1) / s.stride_x + 1, s.out_w);
  for (int64_t image = blockIdx.y; image < images; image += gridDim.y) {
    Vec<float, n> sum[cell][cell] = {};
#pragma unroll 1
    for (int oy = first_y; oy < last_y; ++oy)
#pragma unroll 2
      for (int ox = first_x; ox < last_x; ++ox) {
        const auto window =
            passed.template read<n>(image * s.out_size() + (oy * s.out_w + ox) * s.c + channel, oy, ox, s);
#pragma unroll
        for (int a = 0; a < cell; ++a)
#pragma unroll
          for (int b = 0; b < cell; ++b) {
            const int ky = y + a - oy * s.stride_y, kx = x + b - ox * s.stride_x;
            if (ky < 0 || ky >= s.kh || kx < 0 || kx >= s.kw) continue;
#pragma unroll
            for (int i = 0; i < n; ++i) sum[a][b][i] += window.at(i, ky * s.kw + kx);
          }
      }
#pragma unroll
    for (int a = 0; a < cell; ++a)
#pragma unroll
      for (int b = 0; b < cell; ++b) {
        const int py = y - s.top + a, px = x - s.left + b;
        if (py >= s.h || px >= s.w) continue;
        Real* const to = dx + image * s.in_size() + (py * s.w + px) * s.c + channel;
        if (accumulate) {
          const Vec<float, n> before = load<n>(to);
#pragma unroll
          for (int i = 0; i < n; ++i) sum[a][b][i] += before[i];
        }
        store(to, sum[a][b]);
      }
  }
}

template <int n, class Real>
__global__ void __launch_bounds__(threads)
    spread_kernel(Real* dx, const Real* dy, float share, int64_t images, int pixels, int c, bool accumulate) {
  const int vectors = c / n;
  if (item() >= pixels * vectors) return;
  const int channel = item() % vectors * n;
  for (int64_t image = blockIdx.y; image < images; image += gridDim.y) {
    Vec<float, n> value = load<n>(dy + image * c + channel);
    Real* const to = dx + image * pixels * c + int64_t{item()} * n;
#pragma unroll
    for (int i = 0; i < n; ++i) value[i] *= share;
    if (accumulate) {
      const Vec<float, n> before = load<n>(to);
#pragma unroll
      for (int i = 0; i < n; ++i) value[i] += before[i];
    }
    store(to, value);
  }
}

/// With the window's side, 0 for others than the usual.
template <class Body>
void with_side(const ByAxis& k, const Body& body) {
  if (k == 2)
    body(std::integral_constant<int, 2>());
  else if (k == 3)
    body(std::integral_constant<int, 3>());
  else
    body(std::integral_constant<int, 0>());
}

/// Of each mean's pixels; 0: each window has its own.
float same_share(const PoolShape& s) {
  return s.same_shares() ? 1.0f / static_cast<float>(s.k.down * s.k.across) : 0.0f;
}

template <class Real, class Passed, class... P>
void pool_backward(Real* dx, const Passed& passed, const PoolShape& s, bool accumulate,
                   const P*... pointers) {
  with_width(
      [&](auto n) {
        const auto run = [&](auto cell) {
          const int64_t items = blocks_for(s.h, cell) * blocks_for(s.w, cell) * (s.c / n);
          launch(pool_backward_kernel<n, cell, Passed, Real>, by_image(s.n, items),
                 std::tuple(dx, passed, s.n, Image(s), accumulate));
        };
        if (s.stride == 2)
          run(std::integral_constant<int, 2>());
        else
          run(std::integral_constant<int, 1>());
      },
      s.c, dx, pointers...);
}

/// Moves each number of x and of y once, and a byte of the index with it; where windows overlap, the caches
/// have the rest.
template <class Real>
void max_pool_forward_of(Real* y, uint8_t* index, const Real* x, const PoolShape& s) {
  with_width(
      [&](auto n) {
        with_side(s.k, [&](auto side) {
          launch(index ? max_pool_kernel<n, side, true, Real> : max_pool_kernel<n, side, false, Real>,
                 by_image(s.n, s.out_h() * s.out_w() * (s.c / n)), std::tuple(y, index, x, s.n, Image(s)));
        });
      },
      s.c, y, index, x);
}
template <class Real>
void max_pool_backward_of(Real* dx, const Real* dy, const uint8_t* index, const PoolShape& s,
                          bool accumulate) {
  pool_backward(dx, ToLargest<Real>{dy, index}, s, accumulate, dy, index);
}

template <class Real>
void average_pool_forward_of(Real* y, const Real* x, const PoolShape& s) {
  with_width(
      [&](auto n) {
        with_side(s.k, [&](auto side) {
          launch(average_pool_kernel<n, side, Real>, by_image(s.n, s.out_h() * s.out_w() * (s.c / n)),
                 std::tuple(y, x, same_share(s), s.n, Image(s)));
        });
      },
      s.c, y, x);
}
template <class Real>
void average_pool_backward_of(Real* dx, const Real* dy, const PoolShape& s, bool accumulate) {
  if (s.same_shares())
    pool_backward(dx, ToAll<Real, false>{dy, same_share(s)}, s, accumulate, dy);
  else
    pool_backward(dx, ToAll<Real, true>{dy, 0.0f}, s, accumulate, dy);
}

template <class Real>
void global_average_pool_forward_of(Real* y, const Real* x, int64_t n, int64_t pixels, int64_t c) {
  with_width(
      [&](auto width) {
        const PixelSums m(n, pixels, c, width);
        launch(
            pixel_sum_kernel<width, false, Real>, m.launch(),
            std::tuple(y, x, static_cast<const Real*>(nullptr), 1.0f / static_cast<float>(pixels), false, m));
      },
      c, y, x);
}
template <class Real>
void global_average_pool_backward_of(Real* dx, const Real* dy, int64_t n, int64_t pixels, int64_t c,
                                     bool accumulate) {
  with_width(
      [&](auto width) {
        launch(spread_kernel<width, Real>, by_image(n, pixels * (c / width)),
               std::tuple(dx, dy, 1.0f / static_cast<float>(pixels), n, static_cast<int>(pixels),
                          static_cast<int>(c), accumulate));
      },
      c, dx, dy);
}

}  // namespace

void max_pool_forward(float* y, uint8_t* index, const float* x, const PoolShape& s) {
  max_pool_forward_of(y, index, x, s);
}
void max_pool_backward(float* dx, const float* dy, const uint8_t* index, const PoolShape& s,
                       bool accumulate) {
  max_pool_backward_of(dx, dy, index, s, accumulate);
}
void average_pool_forward(float* y, const float* x, const PoolShape& s) { average_pool_forward_of(y, x, s); }
void average_pool_backward(float* dx, const float* dy, const PoolShape& s, bool accumulate) {
  average_pool_backward_of(dx, dy, s, accumulate);
}
void global_average_pool_forward(float* y, const float* x, int64_t n, int64_t pixels, int64_t c) {
  global_average_pool_forward_of(y, x, n, pixels, c);
}
void global_average_pool_backward(float* dx, const float* dy, int64_t n, int64_t pixels, int64_t c,
                                  bool accumulate) {
  global_average_pool_backward_of(dx, dy, n, pixels, c, accumulate);
}

void max_pool_forward(bf16* y, uint8_t* index, const bf16* x, const PoolShape& s) {
  max_pool_forward_of(y, index, x, s);
}
void max_pool_backward(bf16* dx, const bf16* dy, const uint8_t* index, const PoolShape& s, bool accumulate) {
  max_pool_backward_of(dx, dy, index, s, accumulate);
}
void average_pool_forward(bf16* y, const bf16* x, const PoolShape& s) { average_pool_forward_of(y, x, s); }
void average_pool_backward(bf16* dx, const bf16* dy, const PoolShape& s, bool accumulate) {
  average_pool_backward_of(dx, dy, s, accumulate);
}
void global_average_pool_forward(bf16* y, const bf16* x, int64_t n, int64_t pixels, int64_t c) {
  global_average_pool_forward_of(y, x, n, pixels, c);
}
void global_average_pool_backward(bf16* dx, const bf16* dy, int64_t n, int64_t pixels, int64_t c,
                                  bool accumulate) {
  global_average_pool_backward_of(dx, dy, n, pixels, c, accumulate);
}

}  // namespace espalier::cuda

// Activations and their gradients, and the pass after a layer with a bias: gradient of the activation and of
// the bias at once.
#include "espalier/cuda/activation.cuh"

#include <bit>

#include "espalier/cuda/map.cuh"

namespace espalier::cuda {
namespace {

template <Activation f>
struct Forward {
  __device__ float operator()(int64_t, float x) const { return apply<f>(x); }
};
template <Activation f>
struct Backward {
  __device__ float operator()(int64_t, float dy, float saved) const { return derive<f>(dy, saved); }
};

// Sums over rows in two launches: each block adds up a slab of rows in a tile of columns, then the slabs are
// added up. How many there are depends only on the shape, so that any card adds in the same order.
constexpr int threads = 256;
constexpr int64_t most_blocks = 512;  // 2 loads of 16 bytes by each of their threads fill 132 multiprocessors
constexpr int64_t fewest_slab_rows = 128;  // what is less is not worth a second launch
constexpr int slab_threads = 1024;

/// Threads of a block that lie along a row of this many vectors.
int threads_across(int64_t vectors) {
  return static_cast<int>(std::bit_ceil(static_cast<uint64_t>(std::min<int64_t>(vectors, warp))));
}
int64_t most_slabs(int64_t vectors) {
  return std::max<int64_t>(1, most_blocks / blocks_for(vectors, threads_across(vectors)));
}

/// Block (x, y): columns from x blockDim.x width, rows from y slab_rows. Its sums go to row y of sums [*,
/// cols].
template <int width, Activation f, class Real>
__global__ void __launch_bounds__(threads)
    slab_kernel(Real* dx, float* sums, const Real* dy, const Real* saved, int64_t rows, int64_t cols,
                int64_t slab_rows, bool accumulate) {
  constexpr int unroll = sizeof(Real) * width >= 4 ? 4 : 2;  // of single bf16 more would spill on sm_80
  const int64_t column = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * width;
  const int64_t begin = blockIdx.y * slab_rows, end = begin + slab_rows < rows ? begin + slab_rows : rows;
  Vec<float, width> sum = {};
  if (column < cols)
    for (int64_t row = begin + threadIdx.y; row < end; row += unroll * blockDim.y) {
      Vec<float, width> gradient[unroll], at[unroll];
#pragma unroll
      for (int u = 0; u < unroll; ++u)
        if (const int64_t r = row + u * blockDim.y; r < end) {
          gradient[u] = load<width>(dy + r * cols + column);
          if constexpr (f != Activation::none) at[u] = load<width>(saved + r * cols + column);
        }
#pragma unroll
      for (int u = 0; u < unroll; ++u)
        if (const int64_t r = row + u * blockDim.y; r < end) {
#pragma unroll
          for (int j = 0; j < width; ++j) {
            if constexpr (f != Activation::none) gradient[u][j] = derive<f>(gradient[u][j], at[u][j]);
            sum[j] += gradient[u][j];
          }
          if constexpr (f != Activation::none) store(dx + r * cols + column, gradient[u]);
        }
    }

  __shared__ Vec<float, width> shared[threads];
  Vec<float, width>* const mine = shared + threadIdx.y * blockDim.x + threadIdx.x;
  *mine = sum;
  for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) {
#pragma unroll
      for (int j = 0; j < width; ++j) (*mine)[j] += mine[half * blockDim.x][j];
    }
  }
  if (threadIdx.y == 0 && column < cols) {
    float* const to = sums + blockIdx.y * cols + column;
#pragma unroll
    for (int j = 0; j < width; ++j) to[j] = accumulate ? to[j] + (*mine)[j] : (*mine)[j];
  }
}

/// y [cols] = the sums over all slabs of x [slabs, cols]; a block adds 32 columns.
__global__ void __launch_bounds__(slab_threads)
    add_slabs_kernel(float* y, const float* x, int64_t slabs, int64_t cols, bool accumulate) {
  const int64_t column = int64_t{blockIdx.x} * warp + threadIdx.x;
  float sum = 0;
  if (column < cols)
    for (int64_t slab = threadIdx.y; slab < slabs; slab += blockDim.y) sum += x[slab * cols + column];
  __shared__ float shared[slab_threads / warp][warp + 1];
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  // Column threadIdx.y, its parts across the lanes.
  const float total = warp_sum(shared[threadIdx.x][threadIdx.y]);
  const int64_t to = int64_t{blockIdx.x} * warp + threadIdx.y;
  if (threadIdx.x == 0 && to < cols) y[to] = accumulate ? y[to] + total : total;
}

template <int width, Activation f, class Real>
void run(Real* dx, float* db, const Real* dy, const Real* saved, int64_t rows, int64_t cols, bool accumulate,
         float* partial) {
  const int64_t vectors = cols / width, across = threads_across(vectors);
  const int64_t slab_rows = std::max(fewest_slab_rows, blocks_for(rows, most_slabs(vectors)));
  const int64_t slabs = blocks_for(rows, slab_rows);
  const bool one = slabs <= 1;
  const dim3 grid(static_cast<unsigned>(blocks_for(vectors, across)),
                  static_cast<unsigned>(std::max<int64_t>(slabs, 1)));
  const dim3 block(static_cast<unsigned>(across), static_cast<unsigned>(threads / across));
  launch(slab_kernel<width, f, Real>, {grid, block},
         std::tuple(dx, one ? db : partial, dy, saved, rows, cols, slab_rows, one && accumulate));
  if (!one)
    launch(add_slabs_kernel,
           {dim3(static_cast<unsigned>(blocks_for(cols, warp))), dim3(warp, slab_threads / warp)},
           std::tuple(db, partial, slabs, cols, accumulate));
}

template <class Real>
void forward(Real* y, const Real* x, Activation activation, int64_t n) {
  with(activation, [=](auto f) { map(y, Forward<decltype(f)::value>(), n, false, x); });
}

template <class Real>
void backward(Real* dx, const Real* dy, const Real* saved, Activation activation, int64_t n,
              bool accumulate) {
  with(activation, [=](auto f) {
    constexpr Activation a = decltype(f)::value;
    if constexpr (a == Activation::none)
      map(dx, Forward<a>(), n, accumulate, dy);
    else
      map(dx, Backward<a>(), n, accumulate, dy, saved);
  });
}

/// Moves 3 numbers a number, 1 without an activation; the slabs, at most 512 times 128 sums, stay in the L2
/// cache.
template <class Real>
void bias_backward(Real* dx, float* db, const Real* dy, const Real* saved, Activation activation,
                   int64_t rows, int64_t cols, bool accumulate_db, void* scratch) {
  auto* const partial = static_cast<float*>(scratch);
  const bool vectors =
      cols % 4 == 0 && aligned<4>(dy) && (activation == Activation::none || aligned<4>(dx, saved));
  with(activation, [=](auto f) {
    constexpr Activation a = decltype(f)::value;
    (vectors ? run<4, a, Real> : run<1, a, Real>)(dx, db, dy, saved, rows, cols, accumulate_db, partial);
  });
}

}  // namespace

size_t rows_scratch(int64_t cols) {
  return sizeof(float) * static_cast<size_t>(most_slabs(blocks_for(cols, 4)) * cols);
}

void activation_forward(float* y, const float* x, Activation f, int64_t n) { forward(y, x, f, n); }
void activation_backward(float* dx, const float* dy, const float* saved, Activation f, int64_t n,
                         bool accumulate) {
  backward(dx, dy, saved, f, n, accumulate);
}
void activation_bias_backward(float* dx, float* db, const float* dy, const float* saved, Activation f,
                              int64_t rows, int64_t cols, bool accumulate_db, void* scratch) {
  bias_backward(dx, db, dy, saved, f, rows, cols, accumulate_db, scratch);
}

void activation_forward(bf16* y, const bf16* x, Activation f, int64_t n) { forward(y, x, f, n); }
void activation_backward(bf16* dx, const bf16* dy, const bf16* saved, Activation f, int64_t n,
                         bool accumulate) {
  backward(dx, dy, saved, f, n, accumulate);
}
void activation_bias_backward(bf16* dx, float* db, const bf16* dy, const bf16* saved, Activation f,
                              int64_t rows, int64_t cols, bool accumulate_db, void* scratch) {
  bias_backward(dx, db, dy, saved, f, rows, cols, accumulate_db, scratch);
}

}  // namespace espalier::cuda

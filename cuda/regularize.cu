// What penalties add to gradients, and what criteria gather of them. add_signs, pull and add_squares move 12
// bytes a number; axis_squares reads a weight twice, the second time from the cache if that holds it.
#include "espalier/core/kernels.h"
#include "espalier/cuda/device.cuh"

namespace espalier::cuda {
namespace {

constexpr int threads = 256;

__device__ __forceinline__ int64_t first_item() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t stride() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

__device__ __forceinline__ float sign(float w) { return w > 0 ? 1.0f : w < 0 ? -1.0f : 0.0f; }

// Each item is `width` numbers; those after the last whole item are left to the launch of width 1.

template <int width>
__global__ void signs_kernel(float* dw, const float* w, const uint8_t* where, float weight, int64_t first,
                             int64_t n) {
  for (int64_t item = first_item(); item < (n - first) / width; item += stride()) {
    const int64_t i = first + item * width;
    auto sum = load<width>(dw + i);
    const auto v = load<width>(w + i);
#pragma unroll
    for (int k = 0; k < width; ++k)
      if (!where || where[i + k]) sum[k] += weight * sign(v[k]);
    store(dw + i, sum);
  }
}

template <int width>
__global__ void shrink_kernel(float* w, float by, int64_t first, int64_t n) {
  for (int64_t item = first_item(); item < (n - first) / width; item += stride()) {
    const int64_t i = first + item * width;
    auto v = load<width>(w + i);
#pragma unroll
    for (int k = 0; k < width; ++k) v[k] = fabsf(v[k]) <= by ? 0.0f : v[k] - copysignf(by, v[k]);
    store(w + i, v);
  }
}

template <int width>
__global__ void squares_kernel(float* y, const float* x, float share, int64_t first, int64_t n) {
  for (int64_t item = first_item(); item < (n - first) / width; item += stride()) {
    const int64_t i = first + item * width;
    auto sum = load<width>(y + i);
    const auto v = load<width>(x + i);
#pragma unroll
    for (int k = 0; k < width; ++k) sum[k] += share * (v[k] * v[k]);
    store(y + i, sum);
  }
}

/// All of a row's columns, or `width` of them that are side by side, are of one row.
template <int width, class Index>
__global__ void pull_kernel(float* dw, const float* w, const float* out, const float* in, Index row,
                            Index columns, Index n) {
  for (Index i = (blockIdx.x * blockDim.x + threadIdx.x) * width; i < n;
       i += gridDim.x * blockDim.x * width) {
    auto sum = load<width>(dw + i);
    const auto v = load<width>(w + i);
    const float by = out[i / row];
    const Index column = i % columns;
#pragma unroll
    for (int k = 0; k < width; ++k) sum[k] += (by + (in ? in[column + k] : 0.0f)) * v[k];
    store(dw + i, sum);
  }
}

template <int width>
void pull_by(float* dw, const float* w, const float* out, const float* in, const AxesShape& s) {
  const std::tuple arguments(dw, w, out, in, s.pixels * s.columns, s.columns, s.elements());
  if (s.elements() < int64_t{1} << 31)
    launch(pull_kernel<width, uint32_t>, striding(s.elements() / width, threads), arguments);
  else
    launch(pull_kernel<width, uint64_t>, striding(s.elements() / width, threads), arguments);
}

/// A block a row.
__global__ void row_squares_kernel(double* out, const float* w, int64_t row) {
  __shared__ double shared[threads / warp];
  const float* const at = w + blockIdx.x * row;
  double sum = 0;
  for (int64_t i = threadIdx.x; i < row; i += threads) sum += static_cast<double>(at[i]) * at[i];
  sum = block_sum<threads>(sum, shared);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

constexpr int lanes = 32, lines = 8;  // of a block: columns, and what shares the positions above them

/// to [splits,columns]: sums over the positions of each split.
__global__ void column_squares_kernel(double* to, const float* w, int64_t positions, int64_t columns,
                                      int64_t a_split) {
  __shared__ double shared[lines][lanes];
  const int64_t column = static_cast<int64_t>(blockIdx.x) * lanes + threadIdx.x;
  const int64_t begin = blockIdx.y * a_split, end = min(begin + a_split, positions);
  double sum = 0;
  if (column < columns)
    for (int64_t p = begin + threadIdx.y; p < end; p += lines) {
      const double v = w[p * columns + column];
      sum += v * v;
    }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && column < columns) {
    for (int line = 1; line < lines; ++line) sum += shared[line][threadIdx.x];
    to[blockIdx.y * columns + column] = sum;
  }
}

__global__ void add_splits_kernel(double* in, const double* partial, int64_t splits, int64_t columns) {
  for (int64_t i = first_item(); i < columns; i += stride()) {
    double sum = 0;
    for (int64_t split = 0; split < splits; ++split) sum += partial[split * columns + i];
    in[i] = sum;
  }
}

/// Positions that one block sums at least, and how many splits there are; both depend only on the shape.
constexpr int64_t least_positions = 512, most_splits = 64;
int64_t splits_of(const AxesShape& s) {
  return std::clamp<int64_t>(blocks_for(s.rows * s.pixels, least_positions), 1, most_splits);
}

template <class T>
__global__ void sums_kernel(T* y, const T* x, const int32_t* begin, const int32_t* index, int64_t n) {
  for (int64_t i = first_item(); i < n; i += stride()) {
    T sum = 0;
    for (int32_t j = begin[i]; j < begin[i + 1]; ++j) sum += x[index[j]];
    y[i] = sum;
  }
}

template <class T>
void sums(T* y, const T* x, const int32_t* begin, const int32_t* index, int64_t n) {
  if (n > 0) launch(sums_kernel<T>, striding(n, threads), std::tuple(y, x, begin, index, n));
}

/// A block a group.
__global__ void group_norm_kernel(float* by, const double* squares, const int32_t* members,
                                  const int32_t* begin, double weight) {
  __shared__ double low[threads], high[threads];
  const int thread = static_cast<int>(threadIdx.x);
  const int32_t first = begin[blockIdx.x], end = begin[blockIdx.x + 1];
  const auto norm = [=](int32_t c) { return sqrt(squares[c] / max(members[c], 1)); };
  double least = first + thread < end ? norm(first + thread) : INFINITY, most = -INFINITY;
  for (int32_t c = first + thread; c < end; c += threads) {
    least = fmin(least, norm(c));
    most = fmax(most, norm(c));
  }
  low[thread] = least;
  high[thread] = most;
  __syncthreads();
  for (int step = threads / 2; step > 0; step /= 2) {
    if (thread < step) {
      low[thread] = fmin(low[thread], low[thread + step]);
      high[thread] = fmax(high[thread], high[thread + step]);
    }
    __syncthreads();
  }
  least = low[0];
  most = high[0];
  for (int32_t c = first + thread; c < end; c += threads)
    by[c] = static_cast<float>(weight * (most > least ? exp2(4 * (most - norm(c)) / (most - least)) : 1.0));
}

__global__ void group_lasso_kernel(float* by, const double* squares, double weight, int64_t channels) {
  for (int64_t c = first_item(); c < channels; c += stride())
    by[c] = squares[c] > 0 ? static_cast<float>(weight / sqrt(squares[c])) : 0.0f;
}

}  // namespace

void add_signs(float* dw, const float* w, const uint8_t* where, float weight, int64_t n) {
  const int64_t whole = aligned<4>(dw, w) ? n / 4 * 4 : 0;
  if (whole > 0)
    launch(signs_kernel<4>, striding(whole / 4, threads), std::tuple(dw, w, where, weight, 0, whole));
  if (whole < n)
    launch(signs_kernel<1>, striding(n - whole, threads), std::tuple(dw, w, where, weight, whole, n));
}

void shrink(float* w, float by, int64_t n) {
  const int64_t whole = aligned<4>(w) ? n / 4 * 4 : 0;
  if (whole > 0) launch(shrink_kernel<4>, striding(whole / 4, threads), std::tuple(w, by, 0, whole));
  if (whole < n) launch(shrink_kernel<1>, striding(n - whole, threads), std::tuple(w, by, whole, n));
}

void add_squares(float* y, const float* x, float share, int64_t n) {
  const int64_t whole = aligned<4>(y, x) ? n / 4 * 4 : 0;
  if (whole > 0) launch(squares_kernel<4>, striding(whole / 4, threads), std::tuple(y, x, share, 0, whole));
  if (whole < n) launch(squares_kernel<1>, striding(n - whole, threads), std::tuple(y, x, share, whole, n));
}

void pull(float* dw, const float* w, const float* out, const float* in, const AxesShape& s) {
  if (s.elements() == 0) return;
  if (s.columns % 4 == 0 && aligned<4>(dw, w))
    pull_by<4>(dw, w, out, in, s);
  else
    pull_by<1>(dw, w, out, in, s);
}

size_t axis_squares_scratch(const AxesShape& s) {
  return sizeof(double) * static_cast<size_t>(splits_of(s) * s.columns);
}

void axis_squares(double* out, double* in, const float* w, const AxesShape& s, void* scratch) {
  if (s.elements() == 0) return;
  launch(row_squares_kernel, {dim3(static_cast<unsigned>(s.rows)), dim3(threads)},
         std::tuple(out, w, s.pixels * s.columns));
  if (!in) return;
  const int64_t positions = s.rows * s.pixels, splits = splits_of(s);
  double* const partial = splits > 1 ? static_cast<double*>(scratch) : in;
  launch(column_squares_kernel,
         {dim3(static_cast<unsigned>(blocks_for(s.columns, lanes)), static_cast<unsigned>(splits)),
          dim3(lanes, lines)},
         std::tuple(partial, w, positions, s.columns, blocks_for(positions, splits)));
  if (splits > 1)
    launch(add_splits_kernel, striding(s.columns, threads), std::tuple(in, partial, splits, s.columns));
}

void gather_sums(double* y, const double* x, const int32_t* begin, const int32_t* index, int64_t n) {
  sums(y, x, begin, index, n);
}
void gather_sums(float* y, const float* x, const int32_t* begin, const int32_t* index, int64_t n) {
  sums(y, x, begin, index, n);
}

void group_norm_pull(float* by, const double* squares, const int32_t* members, const int32_t* begin,
                     int64_t groups, double weight) {
  if (groups > 0)
    launch(group_norm_kernel, {dim3(static_cast<unsigned>(groups)), dim3(threads)},
           std::tuple(by, squares, members, begin, weight));
}

void group_lasso_pull(float* by, const double* squares, double weight, int64_t channels) {
  if (channels > 0)
    launch(group_lasso_kernel, striding(channels, threads), std::tuple(by, squares, weight, channels));
}

}  // namespace espalier::cuda

// Reductions to one number: f32 inside a vector, double between vectors, threads and blocks. Each element is
// read once. Which block adds what depends only on n.
#include <cfloat>

#include "espalier/cuda/spans.cuh"

namespace espalier::cuda {
namespace {

constexpr int threads = span_threads;
constexpr int64_t most_parts = 1024;
constexpr int64_t part_grain = 8192;  // elements that are worth a block

/// Over a block: the sum of x_i, or of x_i^2, where the mask (null: all) keeps, for begin <= i < end. A
/// thread that finds its vectors aligned gets the same sum in the same order by single numbers.
template <bool squared, class Real>
__device__ double range_sum(const Real* x, const uint8_t* mask, int64_t begin, int64_t end, double* shared) {
  const auto term = [](float v, bool keep) { return !keep ? 0.0f : squared ? v * v : v; };
  const bool vectors = aligned<4>(x + begin, mask ? mask + begin : nullptr);
  double sum = 0;
  for (int64_t i = begin + 4 * threadIdx.x; i + 4 <= end; i += 4 * threads) {
    Vec4 v;
    Vec<uint8_t, 4> keep = {{1, 1, 1, 1}};
    if (vectors) {
      v = load<4>(x + i);
      if (mask) keep = load<4>(mask + i);
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        v[j] = x[i + j];
        if (mask) keep[j] = mask[i + j];
      }
    }
    sum += (term(v[0], keep[0]) + term(v[1], keep[1])) + (term(v[2], keep[2]) + term(v[3], keep[3]));
  }
  if (const int64_t i = end - (end - begin) % 4 + threadIdx.x; i < end) sum += term(x[i], !mask || mask[i]);
  return block_sum<threads>(sum, shared);
}

/// One block: y. Several: a part each.
template <class Real>
__global__ void __launch_bounds__(threads)
    sum_kernel(float* y, double* parts, const Real* x, float factor, int64_t n, int64_t part) {
  __shared__ double shared[threads / warp];
  const int64_t begin = blockIdx.x * part;
  const double sum = range_sum<false>(x, nullptr, begin, begin + part < n ? begin + part : n, shared);
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1)
    *y = static_cast<float>(factor * sum);
  else
    parts[blockIdx.x] = sum;
}

template <int capacity>
__global__ void __launch_bounds__(threads)
    square_sum_kernel(double* parts, const __grid_constant__ Spans<capacity> spans) {
  __shared__ double shared[threads / warp];
  const Chunk c = chunk_of(spans, blockIdx.x);
  const double sum = range_sum<true>(c.span.g, c.span.mask, c.begin, c.end, shared);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

/// y = factor times the sum of the parts, or y += that. One block.
template <class Y>
__global__ void __launch_bounds__(threads)
    add_parts_kernel(Y* y, const double* parts, int64_t n, float factor, bool accumulate) {
  __shared__ double shared[threads / warp];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += threads) sum += parts[i];
  sum = block_sum<threads>(sum, shared);
  if (threadIdx.x == 0) *y = static_cast<Y>((accumulate ? *y : 0.0) + factor * sum);
}

/// The least index, by an integer atomic: the same whoever comes first. *y is -1, the greatest unsigned
/// number.
template <class Real>
__global__ void __launch_bounds__(threads)
    first_not_finite_kernel(unsigned long long* y, const Real* x, int64_t n) {
  unsigned long long found = ~0ull;
  for (int64_t i = int64_t{blockIdx.x} * threads + threadIdx.x; i < n; i += int64_t{gridDim.x} * threads)
    if (!(fabsf(x[i]) <= FLT_MAX)) {
      found = static_cast<unsigned long long>(i);
      break;
    }
#pragma unroll
  for (int step = warp / 2; step > 0; step /= 2) {
    const unsigned long long other = __shfl_xor_sync(~0u, found, step);
    found = other < found ? other : found;
  }
  if (threadIdx.x % warp == 0 && found != ~0ull) atomicMin(y, found);
}

template <class Real>
void sum_of(float* y, const Real* x, float factor, int64_t n, void* scratch) {
  const int64_t wanted = std::clamp<int64_t>(blocks_for(n, part_grain), 1, most_parts);
  const int64_t part = blocks_for(blocks_for(std::max<int64_t>(n, 1), wanted), 4) * 4;
  const int64_t parts = blocks_for(std::max<int64_t>(n, 1), part);
  auto* const partial = static_cast<double*>(scratch);
  launch(sum_kernel<Real>, {dim3(static_cast<unsigned>(parts)), dim3(threads)},
         std::tuple(y, partial, x, factor, n, part));
  if (parts > 1)
    launch(add_parts_kernel<float>, {dim3(1), dim3(threads)}, std::tuple(y, partial, parts, factor, false));
}

template <class Real>
void first_of(int64_t* y, const Real* x, int64_t n) {
  set_bytes(y, 0xFF, sizeof *y);
  if (n > 0)
    launch(first_not_finite_kernel<Real>, striding(n, threads),
           std::tuple(reinterpret_cast<unsigned long long*>(y), x, n));
}

}  // namespace

/// One for each chunk: at most most_parts, and one for each span of a launch.
size_t reduce_scratch() { return sizeof(double) * (most_parts + many_spans); }

void gradient_square_sum(double* y, const UpdateSpan* spans, int64_t count, void* scratch) {
  auto* const partial = static_cast<double*>(scratch);
  bool accumulate = false;
  for_spans(spans, count, most_parts, [&]<int capacity>(const Spans<capacity>& some, uint32_t chunks) {
    launch(square_sum_kernel<capacity>, {dim3(chunks), dim3(threads)}, std::tuple(partial, some));
    launch(add_parts_kernel<double>, {dim3(1), dim3(threads)},
           std::tuple(y, partial, int64_t{chunks}, 1.0f, accumulate));
    accumulate = true;
  });
  if (!accumulate) set_bytes(y, 0, sizeof *y);
}

void sum(float* y, const float* x, float factor, int64_t n, void* scratch) {
  sum_of(y, x, factor, n, scratch);
}
void first_not_finite(int64_t* y, const float* x, int64_t n) { first_of(y, x, n); }
void sum(float* y, const bf16* x, float factor, int64_t n, void* scratch) {
  sum_of(y, x, factor, n, scratch);
}
void first_not_finite(int64_t* y, const bf16* x, int64_t n) { first_of(y, x, n); }

}  // namespace espalier::cuda

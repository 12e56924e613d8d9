// Kernels run under emulation as CUDA defines it.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "espalier/cuda/launch.h"
#include "espalier/cuda_emulation/emulation.h"

namespace espalier::cuda {

namespace {

template <class T>
T* on_card(const std::vector<T>& values) {
  auto* const memory = static_cast<T*>(allocate(values.size() * sizeof(T)));
  upload(memory, values.data(), values.size() * sizeof(T));
  return memory;
}
template <class T>
std::vector<T> from_card(const T* memory, size_t n) {
  std::vector<T> values(n);
  download(values.data(), memory, n * sizeof(T));
  return values;
}
std::vector<float> count_from(float first, size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), first);
  return values;
}

__global__ void add_kernel(float* y, const float* a, const float* b, int64_t n) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < n;
       i += int64_t{gridDim.x} * blockDim.x)
    y[i] = a[i] + b[i];
}

TEST(EmulatedKernels, AGridThatStrides) {
  for (const size_t n : {1, 31, 256, 257, 100'000, 3'000'000}) {
    const std::vector<float> a = count_from(0, n), b = count_from(5, n);
    float *const da = on_card(a), *const db = on_card(b);
    launch(add_kernel, striding(static_cast<int64_t>(n)), std::tuple(da, da, db, static_cast<int64_t>(n)));
    const std::vector<float> y = from_card(da, n);
    for (size_t i = 0; i < n; ++i) ASSERT_EQ(y[i], a[i] + b[i]) << i << " of " << n;
    release(da);
    release(db);
  }
}

// Sums by shuffles, static and dynamic shared memory, and barriers.
__global__ void __launch_bounds__(256) row_sum_kernel(float* y, const float* x, int64_t cols) {
  __shared__ float of_warp[32];
  ESP_DYNAMIC_SHARED(float, row);
  for (int64_t c = threadIdx.x; c < cols; c += blockDim.x) row[c] = x[blockIdx.x * cols + c];
  __syncthreads();
  float sum = 0;
  for (int64_t c = threadIdx.x; c < cols; c += blockDim.x) sum += row[cols - 1 - c];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0U, sum, step);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x < 32) {
    sum = threadIdx.x < blockDim.x / 32 ? of_warp[threadIdx.x] : 0.0F;
    for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(~0U, sum, static_cast<unsigned>(step));
    if (threadIdx.x == 0) y[blockIdx.x] = sum;
  }
}

TEST(EmulatedKernels, SharedMemoryBarriersAndShufflesInAnyOrder) {
  constexpr size_t rows = 300, cols = 1001;
  const std::vector<float> x = count_from(0, rows * cols);
  float *const dx = on_card(x), *const dy = on_card(std::vector<float>(rows));
  for (const auto order :
       {emulation::Order::ascending, emulation::Order::descending, emulation::Order::shuffled}) {
    emulation::set_order(order);
    launch(row_sum_kernel, {dim3(rows), dim3(256), cols * sizeof(float)},
           std::tuple(dy, dx, static_cast<int64_t>(cols)));
    const std::vector<float> y = from_card(dy, rows);
    for (size_t r = 0; r < rows; ++r) {
      const double sum = cols * (static_cast<double>(r * cols) + (cols - 1) / 2.0);
      ASSERT_NEAR(y[r], sum, 1e-5 * sum + 1);
    }
  }
  emulation::set_order(emulation::Order::ascending);
  release(dx);
  release(dy);
}

__global__ void votes_kernel(unsigned* y, int* counter) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned ballot = __ballot_sync(~0U, lane % 3 == 0);
  const int any = __any_sync(~0U, lane == 40), all = __all_sync(~0U, lane < 32);
  const unsigned up = __shfl_up_sync(~0U, lane, 1), segment = __shfl_sync(~0U, lane, 1, 8);
  const unsigned largest = __reduce_max_sync(~0U, lane * 7 % 32);
  const int below = __syncthreads_count(threadIdx.x < 40);
  const bool right = any == 0 && all == 1 && ballot == 0x49249249U && up == (lane == 0 ? 0 : lane - 1) &&
                     segment == lane / 8 * 8 + 1 && largest == 31 && below == 40;
  atomicAdd(y + threadIdx.x, static_cast<unsigned>(right));
  atomicAdd(counter, 1);
}

TEST(EmulatedKernels, VotesAndIntegerAtomics) {
  unsigned* const y = on_card(std::vector<unsigned>(64));
  int* const counter = on_card(std::vector<int>(1));
  launch(votes_kernel, {dim3(500), dim3(64)}, std::tuple(y, counter));
  for (const unsigned right : from_card(y, 64)) EXPECT_EQ(right, 500U);
  EXPECT_EQ(from_card(counter, 1)[0], 500 * 64);
  release(y);
  release(counter);
}

__global__ void index_kernel(unsigned* y) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  y[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 1000 + thread;
}

TEST(EmulatedKernels, ThreeAxesOfGridAndBlock) {
  unsigned* const y = on_card(std::vector<unsigned>(2 * 3 * 4 * 64));
  launch(index_kernel, {dim3(2, 3, 4), dim3(8, 4, 2)}, std::tuple(y));
  const auto values = from_card(y, 2 * 3 * 4 * 64);
  for (unsigned i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], i / 64 * 1000 + i % 64);
  release(y);
}

TEST(EmulatedKernels, TheHostsCallsAreCounted) {
  float* const x = on_card(count_from(0, 64));
  synchronize();
  const emulation::Counters before = emulation::counters();
  for (int i = 0; i < 3; ++i) launch(add_kernel, striding(64), std::tuple(x, x, x, int64_t{64}));
  emulation::Counters counted = emulation::counters() - before;
  EXPECT_EQ(counted.launches, 3);
  EXPECT_EQ(counted.synchronisations, 0);
  EXPECT_EQ(counted.uploads + counted.downloads + counted.allocations, 0);
  EXPECT_EQ(from_card(x, 64)[63], 63 * 8);
  counted = emulation::counters() - before;
  EXPECT_EQ(counted.downloads, 1);
  EXPECT_GT(counted.synchronisations, 0);
  release(x);
}

}  // namespace

}  // namespace espalier::cuda

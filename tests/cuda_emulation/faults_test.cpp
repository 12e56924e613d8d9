// Faults that a card punishes at random, or not at all, and what the emulator does about each: it ends the
// process with words, or the call fails, or the numbers come out wrong each time.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "espalier/cuda/launch.h"
#include "espalier/cuda_emulation/emulation.h"
#include "espalier/util/error.h"

namespace espalier::cuda {

namespace {

/// Death tests run in a process of their own; what broke the device is forgotten between tests.
class EmulatedFaults : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  void TearDown() override {
    emulation::reset();
    emulation::set_order(emulation::Order::ascending);
  }
};

/// A block that is the card's own, not a part of the pool's slab: what lies around it is guarded.
float* block_of(size_t n) {
  void* block = nullptr;
  ESP_CUDA(cudaMalloc(&block, n * sizeof(float)));
  ESP_CUDA(cudaMemsetAsync(block, 0, n * sizeof(float), stream()));
  return static_cast<float*>(block);
}
std::vector<float> from_card(const float* block, size_t n) {
  std::vector<float> values(n);
  download(values.data(), block, n * sizeof(float));
  return values;
}

/// What `fault` is refused with: the launch itself, or the next wait.
std::string refusal(const std::function<void()>& fault) {
  try {
    fault();
    synchronize();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}
testing::AssertionResult says(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << text << "\" does not say \"" << part << "\"";
}

// --- out of bounds
__global__ void write_at_kernel(float* y, int64_t i) { y[i + threadIdx.x] = 1; }
__global__ void read_at_kernel(float* y, int64_t i) { y[threadIdx.x] = y[i + threadIdx.x]; }
__global__ void dynamic_shared_kernel(float* y, int64_t i) {
  ESP_DYNAMIC_SHARED(float, shared);
  shared[i + threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = shared[threadIdx.x];
}

void run_at(void (*kernel)(float*, int64_t), int64_t i, size_t shared = 0) {
  launch(kernel, {dim3(1), dim3(32), shared}, std::tuple(block_of(1024), i));
  synchronize();
}

TEST_F(EmulatedFaults, OutOfBoundsEndsWithThePlace) {
  EXPECT_DEATH(
      run_at(write_at_kernel, 1000),
      "kernel launched at faults_test.cpp:[0-9]+, block .0,0,0., thread .24,0,0.: touches device memory "
      "0 bytes past a block of 4096 bytes");
  EXPECT_DEATH(run_at(read_at_kernel, 1 << 20), "touches device memory");
  EXPECT_DEATH(run_at(write_at_kernel, -2048), "touches device memory");
  EXPECT_DEATH(run_at(dynamic_shared_kernel, 1, 128), "touches memory that it may not");
  run_at(write_at_kernel, 992);  // the last that fits
  run_at(dynamic_shared_kernel, 0, 128);
}

TEST_F(EmulatedFaults, OutOfBoundsByLessThanTheAlignment) {
  EXPECT_TRUE(says(refusal([] {
                     launch(write_at_kernel, {dim3(1), dim3(32)}, std::tuple(block_of(40), int64_t{9}));
                   }),
                   "something wrote beside a block of 160 bytes"));
}

TEST_F(EmulatedFaults, MemoryThatWasNeverWrittenIsNaN) {
  void* block = nullptr;
  ESP_CUDA(cudaMalloc(&block, 64 * sizeof(float)));
  EXPECT_TRUE(std::isnan(from_card(static_cast<float*>(block), 64)[63]));
}

// --- misaligned vectors
__global__ void vector_kernel(float* y) {
  *reinterpret_cast<float4*>(y + 4 * threadIdx.x) = make_float4(1, 2, 3, 4);
}

void run_vectors(int64_t offset) {
  launch(vector_kernel, {dim3(1), dim3(32)}, std::tuple(block_of(256) + offset));
  synchronize();
}
TEST_F(EmulatedFaults, MisalignedVectorsEndWithThePlace) {
  EXPECT_DEATH(run_vectors(1), "faults_test.cpp:[0-9:]+ runtime error: .*misaligned address");
  run_vectors(4);
}

// --- barriers and shuffles
__global__ void reverse_kernel(float* y, bool with_barrier) {
  __shared__ float shared[256];
  shared[threadIdx.x] = y[threadIdx.x] + 1;
  if (with_barrier) __syncthreads();
  y[threadIdx.x] = shared[255 - threadIdx.x];
}

TEST_F(EmulatedFaults, AMissingBarrierShowsInTheNumbers) {
  float first = 0;  // other numbers each time: shared memory still holds the last ones
  const auto reversed = [&](emulation::Order order, bool with_barrier) {
    emulation::set_order(order);
    std::vector<float> values(256);
    std::iota(values.begin(), values.end(), first += 1000);
    float* const y = block_of(256);
    upload(y, values.data(), 256 * sizeof(float));
    launch(reverse_kernel, {dim3(1), dim3(256)}, std::tuple(y, with_barrier));
    const std::vector<float> found = from_card(y, 256);
    for (size_t i = 0; i < 256; ++i)
      if (found[i] != values[255 - i] + 1) return false;
    return true;
  };
  for (const auto order :
       {emulation::Order::descending, emulation::Order::ascending, emulation::Order::shuffled}) {
    EXPECT_FALSE(reversed(order, false));
    EXPECT_TRUE(reversed(order, true));
  }
}

__global__ void two_barriers_kernel(float* y) {
  if (threadIdx.x < 100) {
    __syncthreads();
    y[threadIdx.x] = 1;
  } else {
    y[threadIdx.x] = 2;
    __syncthreads();
  }
}
__global__ void early_return_kernel(float* y) {
  if (threadIdx.x >= 100) return;
  __syncthreads();
  y[threadIdx.x] = 1;
}
__global__ void odd_lanes_kernel(float* y) {
  float value = 1;
  if (threadIdx.x % 2 == 1) value = __shfl_xor_sync(~0U, value, 2);
  y[threadIdx.x] = value;
}
__global__ void two_shuffles_kernel(float* y) {
  float value = 1;
  if (threadIdx.x % 2 == 1)
    value = __shfl_xor_sync(~0U, value, 2);
  else
    value = __shfl_xor_sync(~0U, value, 1);
  y[threadIdx.x] = value;
}

TEST_F(EmulatedFaults, DivergentBarriersAndShufflesAreNamed) {
  const auto refused = [](void (*kernel)(float*)) {
    const std::string text = refusal([&] {
      launch(kernel, {dim3(2), dim3(256)}, std::tuple(block_of(256)));
    });
    EXPECT_TRUE(says(refusal([] {}), "cudaErrorLaunchFailure")) << "the device stays broken";
    emulation::reset();
    return text;
  };
  EXPECT_TRUE(says(refused(two_barriers_kernel), "divergent barrier: thread (0,0,0) at faults_test.cpp:"));
  EXPECT_TRUE(says(refused(early_return_kernel), "thread (100,0,0) has returned"));
  EXPECT_TRUE(says(refused(odd_lanes_kernel), "divergent warp operation: thread (1,0,0)"));
  EXPECT_TRUE(says(refused(two_shuffles_kernel), "divergent warp operation: thread ("));
}

// --- pointers and copies
struct Pair {
  int64_t n;
  const float* x;
};
__global__ void pair_kernel(float* y, Pair pair) { y[threadIdx.x] = pair.x[threadIdx.x]; }

TEST_F(EmulatedFaults, HostPointersInAKernel) {
  std::vector<float> host(64);
  float* const y = block_of(64);
  const Launch how = {dim3(1), dim3(32)};
  EXPECT_TRUE(says(refusal([&] { launch(write_at_kernel, how, std::tuple(host.data(), int64_t{0})); }),
                   "argument 1 points to host memory"));
  EXPECT_TRUE(says(refusal([&] {
                     launch(pair_kernel, how, std::tuple(y, Pair{64, host.data()}));
                   }),
                   "argument 2 points to host memory"));
  EXPECT_EQ(refusal([&] { launch(pair_kernel, how, std::tuple(y, Pair{64, y})); }), "");
}

TEST_F(EmulatedFaults, TheHostTouchesDeviceMemory) {
  EXPECT_DEATH(
      {
        volatile const float* const x = block_of(64);
        std::exit(static_cast<int>(x[3]));
      },
      "the host touches device memory at byte 12 of a block of 256 bytes");
  EXPECT_DEATH(
      {
        *static_cast<float*>(allocate(16)) = 1;
        std::exit(0);
      },
      "the host touches device memory");
}

TEST_F(EmulatedFaults, CopiesInTheWrongDirectionOrTooLong) {
  std::vector<float> host(64);
  float* const x = block_of(64);
  const auto copy = [&](void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    return refusal([&] { ESP_CUDA(cudaMemcpyAsync(to, from, bytes, kind, stream())); });
  };
  EXPECT_TRUE(says(copy(x, host.data(), 256, cudaMemcpyDeviceToHost), "said to go from device to host"));
  EXPECT_TRUE(says(copy(host.data(), x, 256, cudaMemcpyHostToDevice), "said to go from host to device"));
  EXPECT_TRUE(says(copy(host.data(), x, 260, cudaMemcpyDeviceToHost), "a copy of 260 bytes from"));
  EXPECT_EQ(copy(x, host.data(), 256, cudaMemcpyHostToDevice), "");
}

TEST_F(EmulatedFaults, UseAfterFree) {
  float* const x = block_of(64);
  ESP_CUDA(cudaFree(x));
  EXPECT_TRUE(says(refusal([&] {
                     launch(write_at_kernel, {dim3(1), dim3(32)}, std::tuple(x, int64_t{0}));
                   }),
                   "a block of 256 bytes that was freed"));
  EXPECT_TRUE(says(refusal([&] { ESP_CUDA(cudaFree(x)); }), "that was freed"));
  std::vector<float> host(64);
  EXPECT_NE(refusal([&] { download(host.data(), x, 256); }), "");
}

// --- captured graphs
__global__ void count_kernel(float* y) { y[threadIdx.x] += 1; }

/// What `body` asks for, as a graph; null if the capture was void.
cudaGraph_t captured(const std::function<void()>& body) {
  ESP_CUDA(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal));
  body();
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(stream(), &graph) != cudaSuccess) cudaGetLastError();
  return graph;
}

TEST_F(EmulatedFaults, SynchronisationInACapture) {
  float* const x = block_of(32);
  std::vector<float> host(32);
  const auto refused = [&](const std::function<cudaError_t()>& call) {
    cudaGraph_t const graph = captured([&] { EXPECT_EQ(call(), cudaErrorStreamCaptureUnsupported); });
    EXPECT_EQ(graph, nullptr);
  };
  refused([] { return cudaStreamSynchronize(stream()); });
  refused([] { return cudaDeviceSynchronize(); });
  refused([] {
    void* more = nullptr;
    return cudaMalloc(&more, 16);
  });
  refused([&] { return cudaMemcpyAsync(host.data(), x, 128, cudaMemcpyDeviceToHost, stream()); });
  EXPECT_EQ(refusal([] {}), "") << "a capture that was void leaves the device whole";
}

TEST_F(EmulatedFaults, AGraphReplaysWhatItHoldsAndNothingElse) {
  float* const x = block_of(32);
  cudaGraph_t const graph = captured([&] { launch(count_kernel, {dim3(1), dim3(32)}, std::tuple(x)); });
  cudaGraphExec_t executable = nullptr;
  ESP_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  EXPECT_EQ(from_card(x, 32)[5], 0) << "a capture runs nothing";
  for (int i = 0; i < 3; ++i) ESP_CUDA(cudaGraphLaunch(executable, stream()));
  EXPECT_EQ(from_card(x, 32)[5], 3);
  EXPECT_DEATH(
      {
        ESP_CUDA(cudaFree(x));
        ESP_CUDA(cudaGraphLaunch(executable, stream()));
        synchronize();
      },
      "touches device memory at byte 0 of a block of 128 bytes that was freed");
  ESP_CUDA(cudaGraphExecDestroy(executable));
  ESP_CUDA(cudaGraphDestroy(graph));
}

// --- what the host may rely on before it waits
TEST_F(EmulatedFaults, ResultsReadBeforeASynchronisationAreNotThere) {
  float* const x = block_of(32);
  void* pinned = nullptr;
  ESP_CUDA(cudaHostAlloc(&pinned, 128, cudaHostAllocDefault));
  volatile float* const host = static_cast<float*>(pinned);
  host[0] = -7;
  launch(count_kernel, {dim3(1), dim3(32)}, std::tuple(x));
  ESP_CUDA(cudaMemcpyAsync(pinned, x, 128, cudaMemcpyDeviceToHost, stream()));
  EXPECT_EQ(host[0], -7);
  synchronize();
  EXPECT_EQ(host[0], 1);
  ESP_CUDA(cudaFreeHost(pinned));
}

TEST_F(EmulatedFaults, PinnedMemoryIsReadWhenTheCopyRuns) {
  float* const x = block_of(32);
  void* pinned = nullptr;
  ESP_CUDA(cudaHostAlloc(&pinned, 128, cudaHostAllocDefault));
  auto* const host = static_cast<float*>(pinned);
  host[0] = 1;
  ESP_CUDA(cudaMemcpyAsync(x, pinned, 128, cudaMemcpyHostToDevice, stream()));
  host[0] = 2;  // too early
  EXPECT_EQ(from_card(x, 1)[0], 2);
  ESP_CUDA(cudaFreeHost(pinned));
}

// --- launches that no card can do
TEST_F(EmulatedFaults, LaunchesThatNoCardCanDo) {
  float* const x = block_of(1024);
  const auto refused = [&](const Launch& how) {
    return refusal([&] { launch(dynamic_shared_kernel, how, std::tuple(x, int64_t{0})); });
  };
  EXPECT_TRUE(says(refused({dim3(1), dim3(32), 64 << 10}), "65536 bytes of dynamic shared memory"));
  const auto* const kernel = reinterpret_cast<const void*>(&dynamic_shared_kernel);
  ESP_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10));
  EXPECT_EQ(refused({dim3(1), dim3(32), 64 << 10}), "");
  EXPECT_NE(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 228 << 10),
            cudaSuccess);
  EXPECT_TRUE(says(refused({dim3(1), dim3(2048), 128}), "2048 threads in a block"));
  EXPECT_TRUE(says(refused({dim3(1), dim3(40), 256}), "not whole warps"));
  EXPECT_TRUE(says(refused({dim3(1, 70000), dim3(32), 128}), "a grid of 1 x 70000 x 1"));
}

}  // namespace

}  // namespace espalier::cuda

#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <string_view>

#include "cuda/card.h"
#include "espalier/core/cuda_device.h"
#include "espalier/core/random.h"
#include "espalier/cuda/runtime.h"
#include "support/bad_input.h"

namespace espalier::cuda::allocator_test {
namespace {

constexpr size_t mebibyte = size_t{1} << 20;
using CudaAllocator = OnCard<>;
using CudaCopies = OnCard<>;

TEST_F(CudaAllocator, BlocksAreAlignedAndApart) {
  std::vector<uint8_t*> blocks;
  std::vector<uint8_t> written(300), read(300);
  for (size_t bytes = 0; bytes < 300; bytes += 7) {
    blocks.push_back(static_cast<uint8_t*>(allocate(bytes)));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks.back()) % 256, 0u);
    std::fill(written.begin(), written.end(), static_cast<uint8_t>(blocks.size()));
    upload(blocks.back(), written.data(), bytes);
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    download(read.data(), blocks[i], 7 * i);
    for (size_t k = 0; k < 7 * i; ++k) ASSERT_EQ(read[k], i + 1);
  }
  for (uint8_t* block : blocks) release(block);
}

TEST_F(CudaAllocator, SameRequestsAskTheDriverForNothingTwice) {
  const auto round = [] {
    std::vector<void*> blocks;
    for (uint64_t i = 0; i < 100; ++i)
      blocks.push_back(allocate(static_cast<size_t>(random_below(1, i, 1 << 20))));
    for (const int64_t i : random_permutation(2, 100)) release(blocks[static_cast<size_t>(i)]);
  };
  round();
  const MemoryStats before = memory_stats();
  for (int i = 0; i < 5; ++i) round();
  EXPECT_EQ(memory_stats().system_calls, before.system_calls);
  EXPECT_EQ(memory_stats().system_bytes, before.system_bytes);
  EXPECT_EQ(memory_stats().used_bytes, before.used_bytes);
}

TEST_F(CudaAllocator, AReleasedBlockIsHandedOutAtOnceAndStreamOrderKeepsItsNumbers) {
  std::vector<float> ones(mebibyte, 1.0f), twos(mebibyte, 2.0f), read(mebibyte);
  void* const kept = allocate(4 * mebibyte);
  void* const first = allocate(4 * mebibyte);
  upload(first, ones.data(), 4 * mebibyte);
  ESP_CUDA(cudaMemcpyAsync(kept, first, 4 * mebibyte, cudaMemcpyDeviceToDevice, stream()));
  release(first);
  void* const second = allocate(4 * mebibyte);
  EXPECT_EQ(second, first);
  upload(second, twos.data(), 4 * mebibyte);
  download(read.data(), kept, 4 * mebibyte);
  EXPECT_EQ(read, ones);
  release(second);
  release(kept);
}

TEST_F(CudaAllocator, CountsWhatIsHandedOutAndTheMostOfIt) {
  const size_t used = memory_stats().used_bytes;
  void* const a = allocate(1);
  void* const b = allocate(50 * mebibyte);
  EXPECT_EQ(memory_stats().used_bytes, used + 256 + 50 * mebibyte);
  EXPECT_GE(memory_stats().system_bytes, memory_stats().used_bytes);
  release(b);
  EXPECT_GE(memory_stats().peak_bytes, used + 256 + 50 * mebibyte);
  reset_peak_memory();
  EXPECT_EQ(memory_stats().peak_bytes, used + 256);
  release(a);
}

TEST_F(CudaAllocator, TrimGivesFreeSlabsBack) {
  release(allocate(40 * mebibyte));
  const size_t held = memory_stats().system_bytes;
  trim_memory();
  EXPECT_LE(memory_stats().system_bytes + 40 * mebibyte, held);
}

TEST_F(CudaAllocator, MoreThanThereIsNamesWhatWasAskedUsedHeldAndFree) {
  void* const some = allocate(10 * mebibyte);
  const std::string why = message_of([] { allocate(size_t{1} << 50); });
  EXPECT_TRUE(contains(why, "cuda: out of memory: 1073741824 MiB asked for; this program uses "));
  for (const char* part : {" and holds ", " MiB are free on ", device_info().name.c_str()})
    EXPECT_TRUE(contains(why, part));
  EXPECT_TRUE(contains(message_of([] { allocate(SIZE_MAX); }), "out of memory"));
  void* const again = allocate(10 * mebibyte);  // and all goes on
  release(again);
  release(some);
}

TEST_F(CudaAllocator, PlainBlocksAreTheDriversOwn) {
  const char* const wish = std::getenv("ESPALIER_CUDA_ALLOCATOR");
  if (!wish || std::string_view(wish) != "plain") GTEST_SKIP() << "ESPALIER_CUDA_ALLOCATOR=plain";
  PrivateMemory memory;
  const PrivateMemory::Use use(memory);
  const MemoryStats before = memory_stats();
  void* const a = allocate(1000);
  void* const b = allocate(77);
  EXPECT_EQ(memory_stats().system_calls, before.system_calls + 2);
  EXPECT_EQ(memory_stats().system_bytes, before.system_bytes + 1077);
  release(a);
  EXPECT_EQ(memory_stats().system_bytes, before.system_bytes + 77);
  release(b);
  EXPECT_EQ(memory_stats().system_bytes, before.system_bytes);
}

/// What this thread allocates of `memory`.
void* allocate_in(PrivateMemory& memory, size_t bytes) {
  const PrivateMemory::Use use(memory);
  return allocate(bytes);
}

TEST_F(CudaAllocator, WhatIsFreeInPrivateMemoryStaysThere) {
  PrivateMemory memory;
  void* const block = allocate_in(memory, 5 * mebibyte);
  release(block);
  void* const other = allocate(5 * mebibyte);
  EXPECT_NE(other, block);
  EXPECT_EQ(allocate_in(memory, 5 * mebibyte), block);
  release(block);
  release(other);
}

TEST_F(CudaAllocator, PrivateMemoryIsHeldUntilSomethingOfItGoesBack) {
  const size_t used = memory_stats().used_bytes;
  PrivateMemory memory;
  release(allocate_in(memory, 5 * mebibyte));
  EXPECT_FALSE(memory.held());
  memory.hold();
  EXPECT_TRUE(memory.held());
  EXPECT_GT(memory_stats().used_bytes, used);
  EXPECT_THROW(allocate(size_t{1} << 50), Error);  // which takes what there is
  EXPECT_FALSE(memory.held());
  EXPECT_EQ(memory_stats().used_bytes, used);
}

TEST_F(CudaAllocator, BlocksOutliveTheirPrivateMemory) {
  const size_t used = memory_stats().used_bytes;
  auto memory = std::make_unique<PrivateMemory>();
  void* const block = allocate_in(*memory, 5 * mebibyte);
  memory.reset();
  EXPECT_GT(memory_stats().used_bytes, used);
  release(block);
  EXPECT_EQ(memory_stats().used_bytes, used);
}

TEST_F(CudaCopies, WhatIsUploadedMayBeChangedAtOnce) {
  // More in all, and in one piece, than the pinned buffers hold; and many small ones.
  for (const size_t bytes : {size_t{1}, size_t{1000}, 5 * mebibyte + 3, 40 * mebibyte}) {
    std::vector<uint8_t> host(bytes), back(bytes);
    std::vector<void*> blocks;
    const int rounds = bytes < mebibyte ? 50 : 2;
    for (int round = 0; round < rounds; ++round) {
      std::iota(host.begin(), host.end(), static_cast<uint8_t>(round));
      blocks.push_back(allocate(bytes));
      upload(blocks.back(), host.data(), bytes);
      std::memset(host.data(), 0, bytes);
    }
    for (int round = 0; round < rounds; ++round) {
      std::iota(host.begin(), host.end(), static_cast<uint8_t>(round));
      download(back.data(), blocks[static_cast<size_t>(round)], bytes);
      EXPECT_EQ(back == host, true) << bytes << " bytes, round " << round;
      release(blocks[static_cast<size_t>(round)]);
    }
  }
}

TEST_F(CudaCopies, OfNothing) {
  upload(nullptr, nullptr, 0);
  download(nullptr, nullptr, 0);
}

}  // namespace
}  // namespace espalier::cuda::allocator_test

#include "espalier/core/allocator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "espalier/core/random.h"
#include "support/bad_input.h"

namespace espalier::allocator_test {
namespace {

constexpr size_t mebibyte = size_t{1} << 20;

TEST(Allocator, BlocksAreAlignedAndApart) {
  std::vector<char*> blocks;
  for (size_t bytes = 0; bytes < 300; ++bytes) {
    blocks.push_back(static_cast<char*>(allocator::allocate(bytes)));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks.back()) % 64, 0u);
    std::memset(blocks.back(), static_cast<int>(bytes % 251), bytes);
  }
  for (size_t bytes = 0; bytes < 300; ++bytes)
    for (size_t i = 0; i < bytes; ++i) ASSERT_EQ(blocks[bytes][i], static_cast<char>(bytes % 251));
  for (char* block : blocks) allocator::release(block);
}

TEST(Allocator, SameRequestsTakeNothingFromTheSystemTwice) {
  const auto round = [] {
    std::vector<void*> blocks;
    for (uint64_t i = 0; i < 200; ++i)
      blocks.push_back(allocator::allocate(static_cast<size_t>(random_below(1, i, 1 << 20))));
    const auto order = random_permutation(2, 200);
    for (const int64_t i : order) allocator::release(blocks[static_cast<size_t>(i)]);
  };
  round();
  const AllocatorStats before = allocator::stats();
  for (int i = 0; i < 5; ++i) round();
  EXPECT_EQ(allocator::stats().system_calls, before.system_calls);
  EXPECT_EQ(allocator::stats().system_bytes, before.system_bytes);
  EXPECT_EQ(allocator::stats().used_bytes, before.used_bytes);
}

TEST(Allocator, SplitsABlockAndJoinsItAgainInAnyOrder) {
  const size_t orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (const auto& order : orders) {
    allocator::trim();
    void* whole = allocator::allocate(30 * mebibyte);  // larger than any free block: a slab of its own
    allocator::release(whole);
    const int64_t calls = allocator::stats().system_calls;
    void* parts[3];
    for (void*& part : parts) part = allocator::allocate(10 * mebibyte);
    EXPECT_EQ(parts[0], whole) << "best fit finds the slab";
    EXPECT_EQ(parts[1], static_cast<char*>(whole) + 10 * mebibyte);
    for (const size_t i : order) allocator::release(parts[i]);
    void* again = allocator::allocate(30 * mebibyte);
    EXPECT_EQ(again, whole);
    EXPECT_EQ(allocator::stats().system_calls, calls);
    allocator::release(again);
  }
}

TEST(Allocator, TakesTheSmallestBlockThatFits) {
  allocator::trim();
  void* large = allocator::allocate(40 * mebibyte);
  void* small = allocator::allocate(20 * mebibyte);
  allocator::release(large);
  allocator::release(small);
  void* fits = allocator::allocate(20 * mebibyte);
  EXPECT_EQ(fits, small);
  allocator::release(fits);
}

TEST(Allocator, CountsWhatIsHandedOut) {
  const AllocatorStats before = allocator::stats();
  void* a = allocator::allocate(1);
  EXPECT_EQ(allocator::stats().used_bytes, before.used_bytes + 64);
  void* b = allocator::allocate(100 * mebibyte);
  EXPECT_EQ(allocator::stats().used_bytes, before.used_bytes + 64 + 100 * mebibyte);
  EXPECT_GE(allocator::stats().system_bytes, allocator::stats().used_bytes);
  allocator::release(a);
  allocator::release(b);
  EXPECT_EQ(allocator::stats().used_bytes, before.used_bytes);
  EXPECT_GE(allocator::stats().peak_bytes, before.used_bytes + 64 + 100 * mebibyte);
}

TEST(Allocator, TrimGivesBackFreeSlabsAndNoOthers) {
  void* kept = allocator::allocate(12 * mebibyte);
  std::memset(kept, 1, 12 * mebibyte);
  void* gone = allocator::allocate(50 * mebibyte);
  allocator::release(gone);
  const AllocatorStats before = allocator::stats();
  allocator::trim();
  const AllocatorStats after = allocator::stats();
  EXPECT_LE(after.system_bytes + 50 * mebibyte, before.system_bytes);
  EXPECT_GE(after.system_bytes, 12 * mebibyte);
  EXPECT_EQ(static_cast<char*>(kept)[12 * mebibyte - 1], 1);
  void* fresh = allocator::allocate(50 * mebibyte);
  EXPECT_EQ(allocator::stats().system_calls, after.system_calls + 1);
  allocator::release(fresh);
  allocator::release(kept);
}

TEST(Allocator, ManyThreadsShareIt) {
  const size_t used = allocator::stats().used_bytes;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      std::vector<std::pair<char*, size_t>> mine;
      for (uint64_t i = 0; i < 500; ++i) {
        const size_t bytes = static_cast<size_t>(random_below(t, i, 5000)) + 1;
        mine.emplace_back(static_cast<char*>(allocator::allocate(bytes)), bytes);
        std::memset(mine.back().first, static_cast<int>(t), bytes);
        if (i % 3 == 2) {
          const auto [block, size] = mine[mine.size() / 2];
          for (size_t k = 0; k < size; ++k) ASSERT_EQ(block[k], static_cast<char>(t));
          allocator::release(block);
          mine.erase(mine.begin() + static_cast<ptrdiff_t>(mine.size() / 2));
        }
      }
      for (const auto& [block, size] : mine) allocator::release(block);
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(allocator::stats().used_bytes, used);
}

TEST(Allocator, MoreThanThereIsIsAnError) {
  EXPECT_TRUE(contains(message_of([] { allocator::allocate(size_t{1} << 50); }), "out of memory"));
  EXPECT_TRUE(contains(message_of([] { allocator::allocate(SIZE_MAX); }), "out of memory"));
}

}  // namespace
}  // namespace espalier::allocator_test

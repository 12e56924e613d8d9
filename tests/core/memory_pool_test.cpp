#include "espalier/core/memory_pool.h"

#include <gtest/gtest.h>

#include <vector>

namespace espalier::memory_pool_test {
namespace {

/// So many bytes and no more, at addresses that nothing touches.
class Limited : public SlabSource {
 public:
  explicit Limited(size_t bytes) : left(bytes) {}
  Slab take(size_t bytes) override {
    ++asked;
    if (bytes > left) return {};
    left -= bytes;
    next_ += 1 << 20;
    return {reinterpret_cast<char*>(next_), bytes};
  }
  void give_back(const Slab& slab) noexcept override { left += slab.bytes; }

  size_t left;
  int asked = 0;

 private:
  uintptr_t next_ = 1 << 20;
};

TEST(MemoryPool, GivesFreeSlabsBackBeforeItSaysThatThereIsNoMore) {
  Limited source(1000);
  MemoryPool pool(source, 10);
  void* const small = pool.allocate(400);
  void* const other = pool.allocate(500);
  pool.release(small);
  pool.release(other);
  EXPECT_EQ(source.left, 100u);
  void* const large = pool.allocate(1000);  // fits in neither, nor in what is left
  EXPECT_NE(large, nullptr);
  EXPECT_EQ(source.asked, 4) << "once more after the slabs went back";
  EXPECT_EQ(pool.stats().system_bytes, 1000u);
  pool.release(large);
}

TEST(MemoryPool, NullWhereThereIsNoMoreAndAllGoesOn) {
  Limited source(1000);
  MemoryPool pool(source, 10);
  void* const kept = pool.allocate(600);
  EXPECT_EQ(pool.allocate(500), nullptr);
  EXPECT_EQ(pool.allocate(SIZE_MAX), nullptr);
  EXPECT_EQ(pool.stats().used_bytes, 600u);
  EXPECT_NE(pool.allocate(400), nullptr);
  pool.release(kept);
  EXPECT_EQ(pool.allocate(600), kept);
}

TEST(MemoryPool, KeepsASlabOfWhichAPartIsInUse) {
  Limited source(1000);
  MemoryPool pool(source, 10);
  void* const whole = pool.allocate(1000);
  pool.release(whole);
  void* const part = pool.allocate(10);
  EXPECT_EQ(part, whole);
  pool.trim();
  EXPECT_EQ(source.left, 0u);
  pool.release(part);
  pool.trim();
  EXPECT_EQ(source.left, 1000u);
  EXPECT_EQ(pool.stats().system_bytes, 0u);
}

TEST(MemoryPool, RoundsUpToItsAlignmentAndResetsItsPeak) {
  Limited source(10000);
  MemoryPool pool(source, 256);
  void* const one = pool.allocate(1);
  void* const two = pool.allocate(257);
  EXPECT_EQ(pool.stats().used_bytes, 768u);
  pool.release(two);
  EXPECT_EQ(pool.stats().peak_bytes, 768u);
  pool.reset_peak();
  EXPECT_EQ(pool.stats().peak_bytes, 256u);
  pool.release(one);
}

}  // namespace
}  // namespace espalier::memory_pool_test

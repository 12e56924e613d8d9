#include "espalier/core/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <vector>

#include "support/bad_input.h"
#include "support/threads.h"

namespace espalier::parallel_test {
namespace {

TEST(Parallel, PartsAreContiguousAndDifferByOneAtMost) {
  for (const int64_t n : {0, 1, 2, 7, 64, 1001})
    for (const int parts : {1, 2, 3, 8}) {
      int64_t next = 0;
      for (int part = 0; part < parts; ++part) {
        const Range range = part_of(n, part, parts);
        EXPECT_EQ(range.begin, next);
        EXPECT_TRUE(range.end - range.begin == n / parts || range.end - range.begin == n / parts + 1);
        next = range.end;
      }
      EXPECT_EQ(next, n);
    }
}

TEST(Parallel, SmallWorkIsNotCut) {
  const WithThreads four(4);
  EXPECT_EQ(parts_for(0, 100), 1);
  EXPECT_EQ(parts_for(199, 100), 1);
  EXPECT_EQ(parts_for(200, 100), 2);
  EXPECT_EQ(parts_for(1000000, 100), 4);
  EXPECT_EQ(parts_for(3, 0), 3);
}

TEST(Parallel, ForVisitsEachItemOnce) {
  for (const int count : {1, 2, 3, 7}) {
    const WithThreads some(count);
    for (const int64_t n : {1, 5, 1001}) {
      std::vector<std::atomic<int>> visits(static_cast<size_t>(n));
      parallel_for(n, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
      });
      for (const auto& each : visits) ASSERT_EQ(each, 1);
    }
  }
  parallel_for(0, 1, [](int64_t, int64_t) { ADD_FAILURE() << "called for no items"; });
}

TEST(Parallel, TheCutIsAFunctionOfTheSizeAlone) {
  const WithThreads three(3);
  const auto ranges = [] {
    std::mutex mutex;
    std::set<std::pair<int64_t, int64_t>> seen;
    parallel_for(1001, 10, [&](int64_t begin, int64_t end) {
      std::lock_guard lock(mutex);
      seen.emplace(begin, end);
    });
    return seen;
  };
  const std::set<std::pair<int64_t, int64_t>> expected{{0, 334}, {334, 668}, {668, 1001}};
  for (int i = 0; i < 20; ++i) ASSERT_EQ(ranges(), expected);
}

TEST(Parallel, SetThreads) {
  {
    const WithThreads five(5);
    EXPECT_EQ(threads(), 5);
  }
  for (const int wrong : {0, -1, max_threads + 1})
    EXPECT_EQ(message_of([&] { set_threads(wrong); }),
              join("threads: ", wrong, " is not a number of threads, expected 1 to 1024"));
  EXPECT_GE(threads(), 1);
}

}  // namespace
}  // namespace espalier::parallel_test

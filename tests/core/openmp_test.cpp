#include "espalier/core/openmp.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "espalier/core/kernels.h"
#include "espalier/core/measure.h"
#include "espalier/core/processors.h"
#include "support/bad_input.h"
#include "support/threads.h"

extern "C" {
void GOMP_parallel(void (*function)(void*), void* data, unsigned parts, unsigned flags);
int omp_get_thread_num();
int omp_get_num_threads();
int omp_in_parallel();
}

namespace espalier::openmp_test {
namespace {

// ThreadSanitizer allows no new threads in a fork, and cannot see how libgomp's wait for each other.
#if !defined(__SANITIZE_THREAD__)
int64_t threads_of_this_process() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

TEST(OpenMp, OneDnnRunsOnOurThreads) {
  EXPECT_EXIT(  // in a process of its own, which has no threads yet
      {
        const int more = processors() + 1;  // than libgomp would take
        const WithThreads some(more);
        peak_gflops(0);  // a product of oneDNN's, large enough for all
        std::exit(threads_of_this_process() == more ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(OpenMp, OtherCallersGetLibgomps) {
  struct Seen {
    std::atomic<unsigned> parts = 0;
    std::atomic<bool> right = true;
  } seen;
  GOMP_parallel(
      [](void* data) {
        auto& s = *static_cast<Seen*>(data);
        s.parts |= 1u << omp_get_thread_num();
        if (omp_get_num_threads() != 3 || !omp_in_parallel()) s.right = false;
      },
      &seen, 3, 0);
  EXPECT_EQ(seen.parts, 7u);
  EXPECT_TRUE(seen.right);
  EXPECT_FALSE(omp_in_parallel());
}
#endif

TEST(OpenMp, NumThreads) {
  const char* before = std::getenv("OMP_NUM_THREADS");
  const std::string kept = before ? before : "";
  const auto count = [](const char* text) {
    setenv("OMP_NUM_THREADS", text, 1);
    return openmp_num_threads();
  };
  EXPECT_EQ(count("3"), 3);
  EXPECT_EQ(count("4,2"), 4);
  EXPECT_EQ(count(""), std::nullopt);
  for (const char* wrong : {"0", "-1", "100000", "99999999999999999999", "two", "2x", "1.5", " "})
    EXPECT_EQ(message_of([&] { count(wrong); }),
              std::string("OMP_NUM_THREADS: found '") + wrong + "', expected a whole number from 1 to 1024");
  unsetenv("OMP_NUM_THREADS");
  EXPECT_EQ(openmp_num_threads(), std::nullopt);
  if (before) setenv("OMP_NUM_THREADS", kept.c_str(), 1);
}

}  // namespace
}  // namespace espalier::openmp_test

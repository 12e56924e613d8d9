#include "espalier/core/parallel.h"

#include "espalier/core/openmp.h"
#include "espalier/core/processors.h"
#include "espalier/core/thread_pool.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {

std::atomic<int> asked_for = 0;  // 0: nobody has

}  // namespace

int threads() {
  if (const int count = asked_for.load(std::memory_order_relaxed)) return count;
  static const int count = [] {
    const auto set = openmp_num_threads();
    return set ? *set : processors();
  }();
  return count;
}

void set_threads(int count) {
  if (count < 1 || count > max_threads)
    fail_usage("threads: ", count, " is not a number of threads, expected 1 to ", max_threads);
  asked_for = count;
}

namespace detail {

void run_parts(int parts, void (*body)(const void* context, int part), const void* context) {
  ThreadPool::instance().run(parts, body, context);
}

}  // namespace detail

}  // namespace espalier

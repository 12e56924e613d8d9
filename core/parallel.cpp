#include "espalier/core/parallel.h"

#include "espalier/core/error.h"

#ifdef ESPALIER_STD_THREADS
#include <sched.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>
#else
#include <omp.h>
#endif

namespace espalier {
namespace {

/// OMP_NUM_THREADS, or the processors that this process may run on.
#ifndef ESPALIER_STD_THREADS
int processors() { return omp_get_max_threads(); }
#else
int processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}
#endif

int& thread_count() {
  static int count = processors();
  return count;
}

}  // namespace

int threads() { return thread_count(); }

void set_threads(int count) {
  if (count < 1) fail_usage("threads: ", count, " is not a number of threads, expected 1 or more");
  thread_count() = count;
#ifndef ESPALIER_STD_THREADS
  omp_set_num_threads(count);  // oneDNN asks OpenMP
#endif
}

#ifdef ESPALIER_STD_THREADS
namespace detail {
namespace {

/// Workers that wait for a body, run their part of it and report back.
class Pool {
 public:
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  void run(int parts, const std::function<void(int)>& body) {
    std::lock_guard one_at_a_time(run_mutex_);
    {
      std::lock_guard lock(mutex_);
      while (static_cast<int>(workers_.size()) < parts - 1) {
        const int part = static_cast<int>(workers_.size()) + 1;
        workers_.emplace_back([this, part, seen = generation_] { work(part, seen); });
      }
      body_ = &body;
      parts_ = parts;
      left_ = parts - 1;
      ++generation_;
    }
    wake_.notify_all();
    body(0);
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return left_ == 0; });
  }

 private:
  void work(int part, int64_t seen) {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
      if (stop_) return;
      seen = generation_;
      if (part >= parts_) continue;
      const auto* body = body_;
      lock.unlock();
      (*body)(part);
      lock.lock();
      if (--left_ == 0) done_.notify_one();
    }
  }

  std::mutex run_mutex_, mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  const std::function<void(int)>* body_ = nullptr;
  int parts_ = 0, left_ = 0;
  int64_t generation_ = 0;
  bool stop_ = false;
};

}  // namespace

void run_parts(int parts, const std::function<void(int)>& body) {
  static Pool pool;
  pool.run(parts, body);
}

}  // namespace detail
#endif

}  // namespace espalier

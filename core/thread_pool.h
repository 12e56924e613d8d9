// The threads that compute. A region cuts work into parts: the caller computes part 0 and a worker each of
// the others. Whoever waits spins for some microseconds, since in a network the next region is that near, and
// then sleeps, so that it takes no time from a thread it waits for where other processes run, too. And a part
// that its worker has not begun when the caller is through with its own is computed by the caller: no region
// waits for a thread that the system has not let run.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>

namespace espalier {

/// Where in a region the calling thread is.
struct RegionPlace {
  bool inside = false;
  int part = 0, parts = 1;
};

/// Of the regions sampled: seconds from their begin until the caller had computed its own part, and from
/// there to their end.
struct RegionTimes {
  double worked = 0, waited = 0;
};

class ThreadPool {
 public:
  using Body = void (*)(const void* context, int part);

  /// The one of this process; in a child of fork(), which has none of its parent's threads, a new one.
  static ThreadPool& instance();

  /// Calls body(context, part) for part = 0 .. parts-1, once each. Inside a region, and while another thread
  /// has a region running, the caller computes all parts, one after the other. An Error if the system starts
  /// no more threads; bodies must not throw.
  void run(int parts, Body body, const void* context);

  /// The same for bodies that wait for each other (barrier()): while another thread's region runs, the caller
  /// waits. Inside a region there is only one part.
  void run_together(int parts, Body body, const void* context);
  /// Returns once all parts of the region around it have called it.
  void barrier();

  static RegionPlace place();
  /// Of all regions so far.
  RegionTimes times() const;

  explicit ThreadPool(ThreadPool* parents);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

 private:
  struct Region {
    Body body = nullptr;
    const void* context = nullptr;
    int parts = 0;
    uint32_t denormals = 0;  ///< the caller's mode (denormals.h), which is that of all parts
  };

  /// A worker's mailbox, all that passes between the caller and it: one cache line.
  struct alignas(64) Worker {
    enum State : uint32_t {
      idle,     ///< has nothing to do, and spins
      asleep,   ///< the same, and sleeps: to be woken
      waiting,  ///< its part of `region` waits for it, or for the caller to take it
      working,  ///< is at it
      awaited   ///< the same, and the caller sleeps: to be woken
    };
    std::atomic<uint32_t> state = idle;
    Region region;
  };

  void start_workers(int count);
  void work(Worker& worker, int part);
  void run_region(const Region& region);
  void finish(Worker& worker, int part);
  template <class Done>
  bool spin(const std::atomic<uint32_t>& word, int64_t microseconds, const Done& done) const;

  std::mutex region_mutex_;  // one region at a time
  std::deque<Worker> workers_;
  int64_t regions_ = 0;
  std::atomic<int64_t> worked_ = 0, waited_ = 0;  // nanoseconds
  const int processors_;
  ThreadPool* const parents_;  // of the process that this one is a fork of; kept, for it may be in use
  alignas(64) std::atomic<bool> spins_ = true;  // there is a processor for each of the region's parts
  alignas(64) std::atomic<uint32_t> arrived_ = 0;
  std::atomic<uint32_t> barriers_ = 0;
};

}  // namespace espalier

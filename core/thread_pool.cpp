#include "espalier/core/thread_pool.h"

#include <pthread.h>

#include <chrono>
#include <csignal>
#include <system_error>
#include <thread>

#include "espalier/core/denormals.h"
#include "espalier/core/processors.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {

using Clock = std::chrono::steady_clock;

// docs/performance.md has the measurements these come from.
constexpr int64_t worker_spins =
    100;  // microseconds: about the longest way from one region of a step to the next
constexpr int64_t caller_spins = 200;  // after that a part is long, or its thread does not run
constexpr int64_t sampled =
    61;  // one region in so many is timed; a prime, so that steps do not keep time with it

thread_local RegionPlace current;

/// The calling thread is at `place` while this lives.
class AtPlace {
 public:
  explicit AtPlace(const RegionPlace& place) : before_(current) { current = place; }
  ~AtPlace() { current = before_; }
  AtPlace(const AtPlace&) = delete;
  AtPlace& operator=(const AtPlace&) = delete;

 private:
  RegionPlace before_;
};

void run_part(ThreadPool::Body body, const void* context, int part, int parts) {
  const AtPlace here({.inside = true, .part = part, .parts = parts});
  body(context, part);
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

std::atomic<ThreadPool*> pool = nullptr;

}  // namespace

ThreadPool::ThreadPool(ThreadPool* parents)
    : processors_(parents ? parents->processors_ : processors()), parents_(parents) {}

ThreadPool& ThreadPool::instance() {
  // Never destroyed: its workers sleep in it until the process ends.
  static const bool made = [] {
    pool = new ThreadPool(nullptr);
    pthread_atfork(nullptr, nullptr, [] { pool = new ThreadPool(pool.load()); });
    return true;
  }();
  (void)made;
  return *pool.load(std::memory_order_acquire);
}

RegionPlace ThreadPool::place() { return current; }

RegionTimes ThreadPool::times() const {
  return {1e-9 * static_cast<double>(worked_.load()), 1e-9 * static_cast<double>(waited_.load())};
}

/// Until done(value of word), but no longer than that: whether it is done.
template <class Done>
bool ThreadPool::spin(const std::atomic<uint32_t>& word, int64_t microseconds, const Done& done) const {
  if (done(word.load(std::memory_order_acquire))) return true;
  if (!spins_.load(std::memory_order_relaxed)) return false;
  const auto end = Clock::now() + std::chrono::microseconds(microseconds);
  do {
    for (int i = 0; i < 8; ++i) {
      pause();
      if (done(word.load(std::memory_order_acquire))) return true;
    }
  } while (Clock::now() < end);
  return false;
}

/// While one is alive, the signals that ask a program to end do not come to this thread, nor to those it
/// starts: a handler must not run on the stack of a worker (util/interrupt.cpp).
class NoSignals {
 public:
  NoSignals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
    pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

 private:
  sigset_t before_;
};

void ThreadPool::start_workers(int count) {
  const NoSignals inherited;
  while (static_cast<int>(workers_.size()) < count) {
    Worker& worker = workers_.emplace_back();
    try {
      std::thread([this, &worker, part = static_cast<int>(workers_.size())] { work(worker, part); }).detach();
    } catch (const std::system_error& error) {
      workers_.pop_back();
      fail("threads: the system starts no more than ", workers_.size() + 1, " of ", count + 1, ": ",
           error.code().message(), "; --threads N takes fewer");
    }
  }
}

void ThreadPool::work(Worker& worker, int part) {
  while (true) {
    const auto given = [](uint32_t state) { return state == Worker::waiting; };
    if (!spin(worker.state, worker_spins, given)) {
      uint32_t expected = Worker::idle;
      if (worker.state.compare_exchange_strong(expected, Worker::asleep)) worker.state.wait(Worker::asleep);
    }
    uint32_t expected = Worker::waiting;  // unless the caller has taken the part meanwhile
    if (!worker.state.compare_exchange_strong(expected, Worker::working, std::memory_order_acquire)) continue;
    set_denormals_mode(worker.region.denormals);
    run_part(worker.region.body, worker.region.context, part, worker.region.parts);
    if (worker.state.exchange(Worker::idle, std::memory_order_acq_rel) == Worker::awaited)
      worker.state.notify_all();
  }
}

/// Returns when the worker's part is done: by the caller, if the worker has not begun.
void ThreadPool::finish(Worker& worker, int part) {
  uint32_t expected = Worker::waiting;
  if (worker.state.compare_exchange_strong(expected, Worker::idle, std::memory_order_acq_rel))
    return run_part(worker.region.body, worker.region.context, part, worker.region.parts);
  const auto done = [](uint32_t state) { return state <= Worker::asleep; };
  if (done(expected) || spin(worker.state, caller_spins, done)) return;
  expected = Worker::working;
  if (!worker.state.compare_exchange_strong(expected, Worker::awaited, std::memory_order_acq_rel)) return;
  worker.state.wait(Worker::awaited, std::memory_order_acquire);
}

void ThreadPool::run_region(const Region& region) {
  start_workers(region.parts - 1);
  if (const bool spins = region.parts <= processors_; spins != spins_) spins_ = spins;
  const bool timed = ++regions_ % sampled == 0;
  const auto start = timed ? Clock::now() : Clock::time_point();
  arrived_.store(0, std::memory_order_relaxed);
  for (int part = 1; part < region.parts; ++part) {
    Worker& worker = workers_[static_cast<size_t>(part - 1)];
    worker.region = region;
    if (worker.state.exchange(Worker::waiting, std::memory_order_acq_rel) == Worker::asleep)
      worker.state.notify_all();
  }
  run_part(region.body, region.context, 0, region.parts);
  const auto own = timed ? Clock::now() : start;
  for (int part = 1; part < region.parts; ++part) finish(workers_[static_cast<size_t>(part - 1)], part);
  if (!timed) return;
  worked_ += std::chrono::nanoseconds(own - start).count();
  waited_ += std::chrono::nanoseconds(Clock::now() - own).count();
}

void ThreadPool::run(int parts, Body body, const void* context) {
  std::unique_lock lock(region_mutex_, std::defer_lock);
  if (!current.inside && lock.try_lock()) return run_region({body, context, parts, denormals_mode()});
  for (int part = 0; part < parts; ++part) run_part(body, context, part, parts);
}

void ThreadPool::run_together(int parts, Body body, const void* context) {
  if (current.inside || parts == 1) return run_part(body, context, 0, 1);
  const std::lock_guard lock(region_mutex_);
  run_region({body, context, parts, denormals_mode()});
}

void ThreadPool::barrier() {
  if (current.parts == 1) return;
  const uint32_t before = barriers_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(current.parts)) {
    arrived_.store(0, std::memory_order_relaxed);
    barriers_.fetch_add(1, std::memory_order_acq_rel);
    barriers_.notify_all();
    return;
  }
  const auto passed = [before](uint32_t barriers) { return barriers != before; };
  if (!spin(barriers_, caller_spins, passed)) barriers_.wait(before);
}

}  // namespace espalier

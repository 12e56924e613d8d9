#include "espalier/core/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>
#include <vector>

namespace espalier::thread_pool_test {
namespace {

using Body = std::function<void(int)>;

void call(const void* context, int part) { (*static_cast<const Body*>(context))(part); }
void run(ThreadPool& pool, int parts, const Body& body) { pool.run(parts, call, &body); }
void run_together(ThreadPool& pool, int parts, const Body& body) { pool.run_together(parts, call, &body); }

/// A pool's threads live as long as the process, and use it.
ThreadPool& new_pool() { return *new ThreadPool(nullptr); }

TEST(ThreadPool, RunsEachPartOnce) {
  ThreadPool& pool = new_pool();
  for (const int parts : {2, 1, 7, 3, 64})  // more and less than there are threads
    for (int turn = 0; turn < 50; ++turn) {
      std::vector<std::atomic<int>> visits(static_cast<size_t>(parts));
      run(pool, parts, [&](int part) {
        ++visits[static_cast<size_t>(part)];
        const RegionPlace place = ThreadPool::place();
        EXPECT_TRUE(place.inside && place.part == part && place.parts == parts);
      });
      for (const auto& each : visits) ASSERT_EQ(each, 1);
    }
  EXPECT_FALSE(ThreadPool::place().inside);
}

TEST(ThreadPool, ARegionInARegionIsTheCallersAlone) {
  ThreadPool& pool = new_pool();
  std::atomic<int> visits = 0;
  run(pool, 3, [&](int) {
    const auto self = std::this_thread::get_id();
    run(pool, 5, [&](int) { visits += std::this_thread::get_id() == self; });
    run_together(pool, 5, [&](int) {  // as in OpenMP
      EXPECT_EQ(ThreadPool::place().parts, 1);
      pool.barrier();
      visits += 100;
    });
  });
  EXPECT_EQ(visits, 3 * (5 + 100));
}

TEST(ThreadPool, SignalsThatEndTheProgramDoNotComeToWorkers) {
  const auto caller = std::this_thread::get_id();
  const auto lets_through = [](int signal) {
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    return sigismember(&blocked, signal) == 0;
  };
  std::atomic<int> workers = 0;
  ThreadPool& pool = new_pool();
  run_together(pool, 3, [&](int) {
    pool.barrier();  // so that no thread takes several parts
    const bool is_worker = std::this_thread::get_id() != caller;
    workers += is_worker;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) EXPECT_NE(lets_through(signal), is_worker);
  });
  EXPECT_EQ(workers, 2);
}

TEST(ThreadPool, BarriersWaitForAllParts) {
  ThreadPool& pool = new_pool();
  for (const int parts : {2, 3, 8}) {  // more than this machine may have
    constexpr int rounds = 100;
    std::atomic<int> arrived = 0;
    run_together(pool, parts, [&](int) {
      for (int round = 1; round <= rounds; ++round) {
        ++arrived;
        pool.barrier();
        EXPECT_GE(arrived, round * parts);
        pool.barrier();
      }
    });
    EXPECT_EQ(arrived, rounds * parts);
  }
}

TEST(ThreadPool, ManyThreadsMayCall) {
  ThreadPool& pool = new_pool();
  std::atomic<int64_t> visits = 0;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&, caller] {
      for (int turn = 0; turn < 200; ++turn) {
        run(pool, 2 + caller, [&](int) { ++visits; });
        run_together(pool, 3, [&](int) {
          pool.barrier();
          ++visits;
        });
      }
    });
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(visits, 200 * ((2 + 3 + 4 + 5) + 4 * 3));
}

TEST(ThreadPool, AForksChildHasThreadsOfItsOwn) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer allows no new threads there";
#endif
  // All have begun: one that begins allocates, and under AddressSanitizer the child would inherit the
  // allocator's lock.
  run_together(ThreadPool::instance(), 3, [](int) { ThreadPool::instance().barrier(); });
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    std::atomic<int> visits = 0;
    run_together(ThreadPool::instance(), 3, [&](int) {
      ThreadPool::instance().barrier();  // no thread, no end
      ++visits;
    });
    _exit(visits == 3 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

std::atomic<bool> held = false, released = false;
void hold(int) {
  held = true;
  while (!released) usleep(1000);
}

TEST(ThreadPool, APartWhoseThreadDoesNotRunIsTheCallers) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer keeps a signal back while a thread waits";
#endif
  ThreadPool& pool = new_pool();
  std::atomic<bool> begun = false;
  pthread_t worker{};
  run(pool, 2, [&](int part) {
    if (part == 1) worker = pthread_self();
    if (part == 1) begun = true;
    while (!begun) std::this_thread::yield();  // so that the caller cannot take part 1
  });
  ASSERT_NE(worker, pthread_self());

  std::signal(SIGUSR1, hold);
  pthread_kill(worker, SIGUSR1);
  while (!held) std::this_thread::yield();
  const pthread_t self = pthread_self();
  std::atomic<int> by_caller = 0;
  for (int turn = 0; turn < 10; ++turn)
    run(pool, 2, [&](int) { by_caller += pthread_equal(pthread_self(), self) != 0; });
  EXPECT_EQ(by_caller, 20);
  released = true;
  std::atomic<int> visits = 0;
  run(pool, 2, [&](int) { ++visits; });
  EXPECT_EQ(visits, 2);
  std::signal(SIGUSR1, SIG_DFL);
}

}  // namespace
}  // namespace espalier::thread_pool_test

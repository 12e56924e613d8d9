#include "espalier/util/interrupt.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <initializer_list>

namespace espalier {
namespace {

std::atomic<int> pending = 0;
static_assert(std::atomic<int>::is_always_lock_free, "what a signal handler may use");

std::atomic<int64_t> first_came = 0;  // nanoseconds
static_assert(std::atomic<int64_t>::is_always_lock_free, "the same");

std::atomic<const char*> words = nullptr;
static_assert(std::atomic<const char*>::is_always_lock_free, "the same");

int64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

void note(int signal) {
  int none = 0;
  if (pending.compare_exchange_strong(none, signal)) {
    first_came = now();
    return;
  }
  // Whoever stops programs may send several kinds at once: that is one wish.
  if (first_came == 0 || now() - first_came < 1'000'000'000) return;
  if (const char* text = words; text && write(STDOUT_FILENO, text, std::strlen(text)) < 0) {
    // there is nobody left to tell
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // comes when this returns
}

/// A handler must not run on this thread's own stack: generated kernels (oneDNN's matrix products) keep
/// numbers in the stack pointer, and what is written below it would go into the heap.
void handle_on_a_stack_apart() {
  alignas(64) static std::array<char, size_t{1} << 16> memory;  // frames of AVX-512 and AMX take 11 KB
  stack_t stack = {};
  sigaltstack(nullptr, &stack);
  if (!(stack.ss_flags & SS_DISABLE)) return;  // a sanitizer's
  stack = {.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
  sigaltstack(&stack, nullptr);
}

}  // namespace

void catch_interrupts() {
  handle_on_a_stack_apart();
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler == SIG_IGN) continue;
    struct sigaction action = {};
    action.sa_handler = note;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigaction(signal, &action, nullptr);
  }
}

void last_words(const char* text) { words = text; }

int interrupt_signal() { return pending; }

void stop_if_interrupted() {
  if (const int signal = pending) throw Interrupted(signal);
}

}  // namespace espalier

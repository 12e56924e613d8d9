#include "espalier/core/interrupt.h"

#include <atomic>
#include <csignal>
#include <initializer_list>

namespace espalier {
namespace {

std::atomic<int> pending = 0;
static_assert(std::atomic<int>::is_always_lock_free, "what a signal handler may use");

void note(int signal) {
  int none = 0;
  if (pending.compare_exchange_strong(none, signal)) return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // comes when this returns
}

}  // namespace

void catch_interrupts() {
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler == SIG_IGN) continue;
    struct sigaction action = {};
    action.sa_handler = note;
    action.sa_flags = SA_RESTART;
    sigaction(signal, &action, nullptr);
  }
}

int interrupt_signal() { return pending; }

void stop_if_interrupted() {
  if (const int signal = pending) throw Interrupted(signal);
}

}  // namespace espalier

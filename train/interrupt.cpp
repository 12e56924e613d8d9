#include "espalier/train/interrupt.h"

#include <csignal>
#include <initializer_list>

namespace espalier {
namespace {

volatile std::sig_atomic_t pending = 0;

void note(int signal) { pending = signal; }

}  // namespace

void catch_interrupts() {
  for (int signal : {SIGINT, SIGTERM}) {
    struct sigaction action = {};
    action.sa_handler = note;
    action.sa_flags =
        static_cast<int>(SA_RESETHAND | SA_RESTART);  // a second signal acts as if nobody had listened
    sigaction(signal, &action, nullptr);
  }
}

int interrupt_signal() { return pending; }

void stop_if_interrupted() {
  if (pending) throw Interrupted(pending);
}

}  // namespace espalier

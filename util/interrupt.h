// SIGINT, SIGTERM and SIGHUP: the first asks the run to save and stop, a second of any of them that comes a
// second or more later ends the program at once, also where it hangs. It lives here so that whatever takes
// long can ask.
#pragma once

#include <exception>

namespace espalier {

/// Thrown where what was asked to stop has saved, or has nothing to save (readers of files throw it, too: who
/// catches all exceptions lets it through); exit code 128 + signal.
class Interrupted : public std::exception {
 public:
  explicit Interrupted(int signal) : signal_(signal) {}
  int signal() const { return signal_; }
  const char* what() const noexcept override { return "interrupted"; }

 private:
  int signal_;
};

/// From now on the three signals are noted instead of ending the program. For the main thread, to
/// which they come: workers (thread_pool.cpp) let none through. One that the program was started to ignore
/// (by nohup, or by a shell in its background) is ignored on.
void catch_interrupts();
/// What is written to standard output if a signal ends the program at once, e.g. to clear a half-drawn line;
/// it must live as long as the program. Null: nothing.
void last_words(const char* text);
/// The signal that has come, or 0. For bodies of parallel_for, which must not throw.
int interrupt_signal();
/// Throws Interrupted if one has come.
void stop_if_interrupted();

}  // namespace espalier

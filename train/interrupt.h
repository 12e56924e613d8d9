// SIGINT and SIGTERM: the first asks the run to save and stop, the second ends the program at once.
#pragma once

#include <exception>

namespace espalier {

/// Thrown once a run that was asked to stop has saved; the program exits with 128 + signal.
class Interrupted : public std::exception {
 public:
  explicit Interrupted(int signal) : signal_(signal) {}
  int signal() const { return signal_; }
  const char* what() const noexcept override { return "interrupted"; }

 private:
  int signal_;
};

/// From now on the two signals are noted instead of ending the program.
void catch_interrupts();
/// The signal that has come, or 0.
int interrupt_signal();
/// Throws Interrupted if one has come.
void stop_if_interrupted();

}  // namespace espalier

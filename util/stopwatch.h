// How long something takes.
#pragma once

#include <chrono>

namespace espalier {

/// Runs from when it is made: const Stopwatch watch; ...; watch.seconds()
class Stopwatch {
 public:
  double seconds() const { return since<std::ratio<1>>(); }
  double milliseconds() const { return since<std::milli>(); }

 private:
  template <class Unit>
  double since() const {
    return std::chrono::duration<double, Unit>(std::chrono::steady_clock::now() - start_).count();
  }

  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace espalier

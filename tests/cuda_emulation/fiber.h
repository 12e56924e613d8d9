// A stack of its own that a thread of the system can run on and leave at any time: what a CUDA thread is
// while it waits for others of its block.
#pragma once

#include <cstddef>

namespace espalier::emulation {

class Fiber {
 public:
  /// Will run `entry`, which never returns, when it is first resumed.
  explicit Fiber(void (*entry)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Runs the fiber from where it was until it suspends itself. From a stack that is no fiber's, always on
  /// the thread that resumed it first.
  void resume();
  /// Back to just after the resume() that runs the calling fiber.
  static void suspend();

 private:
  friend void begin_fiber();
  void* stack_pointer_;
  char* mapping_;
  void (*entry_)();
  void* shadow_;  // what a sanitizer knows the stack by
};

}  // namespace espalier::emulation

#include "espalier/util/interrupt.h"

#include <gtest/gtest.h>
#include <ucontext.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <initializer_list>
#include <thread>
#include <vector>

namespace espalier {
namespace {

constexpr std::initializer_list<int> signals = {SIGINT, SIGTERM, SIGHUP};

// Each in a process of its own: a signal stays noted for good.

TEST(Interrupt, TheFirstSignalIsNoted) {
  for (const int signal : signals)
    EXPECT_EXIT(
        {
          catch_interrupts();
          stop_if_interrupted();
          if (interrupt_signal() != 0) std::exit(1);
          std::raise(signal);
          try {
            stop_if_interrupted();
          } catch (const Interrupted& interrupted) {
            std::exit(interrupted.signal() == interrupt_signal() ? 128 + interrupted.signal() : 2);
          }
          std::exit(3);
        },
        testing::ExitedWithCode(128 + signal), "");
}

// ThreadSanitizer delivers signals late, several at once in the order of their numbers.
#if !defined(__SANITIZE_THREAD__)
TEST(Interrupt, SeveralAtOnceAreOneWish) {
  for (const int first : signals)
    EXPECT_EXIT(
        {
          catch_interrupts();
          std::raise(first);
          for (const int second : signals) std::raise(second);
          std::exit(interrupt_signal());
        },
        testing::ExitedWithCode(first), "");
}

TEST(Interrupt, ALaterOneOfAnyKindEndsTheProgram) {
  for (const int second : signals)
    EXPECT_EXIT(
        {
          catch_interrupts();
          std::raise(SIGTERM);
          std::this_thread::sleep_for(std::chrono::milliseconds(1010));
          std::raise(second);
          std::exit(0);
        },
        testing::KilledBySignal(second), "");
}
#endif

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/// How many bytes of a stack a signal costs that is raised on it.
size_t depth_of(int signal) {
  static ucontext_t here, there;
  static std::vector<unsigned char> stack(size_t{1} << 18);
  static int raised;
  std::ranges::fill(stack, 0xA5);
  raised = signal;
  getcontext(&there);
  there.uc_stack.ss_sp = stack.data();
  there.uc_stack.ss_size = stack.size();
  there.uc_link = &here;
  makecontext(
      &there, [] { std::raise(raised); }, 0);
  swapcontext(&here, &there);
  return static_cast<size_t>(stack.end() -
                             std::ranges::find_if(stack, [](unsigned char byte) { return byte != 0xA5; }));
}

// Kernels that keep a number in the stack pointer would see it written to.
TEST(Interrupt, LeavesTheStackOfWhatItInterruptsAlone) {
  EXPECT_EXIT(
      {
        std::signal(SIGUSR1, SIG_IGN);
        depth_of(SIGUSR1);  // what is bound at the first call
        const size_t raised = depth_of(SIGUSR1);
        catch_interrupts();
        const size_t caught = depth_of(SIGTERM);
        std::exit(interrupt_signal() == SIGTERM && caught < raised + 128 ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}
#endif

TEST(Interrupt, WhatWasIgnoredAtTheStartStaysIgnored) {
  for (const int signal : signals)
    EXPECT_EXIT(
        {
          std::signal(signal, SIG_IGN);
          catch_interrupts();
          std::raise(signal);
          std::raise(signal);
          std::exit(interrupt_signal());
        },
        testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace espalier

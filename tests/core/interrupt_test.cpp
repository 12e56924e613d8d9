#include "espalier/core/interrupt.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <initializer_list>
#include <thread>

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

#include "support/watchdog.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace espalier {
namespace {

struct Outcome {
  std::string output;
  int status;
};

/// Runs only this test once more, in a child whose limit is a third of a second and which does `what`.
Outcome run_again(const std::string& what) {
  const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
  const std::string command = "ESPALIER_TEST_SECONDS=0.3 ESPALIER_TEST_DOES=" + what +
                              " \"$(readlink /proc/" + std::to_string(getpid()) +
                              "/exe)\" --gtest_filter=" + test.test_suite_name() + "." + test.name() +
                              " 2>&1";
  Outcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  char buffer[4096];
  while (const size_t got = fread(buffer, 1, sizeof(buffer), pipe)) outcome.output.append(buffer, got);
  outcome.status = pclose(pipe);
  return outcome;
}

bool does(const char* what) {
  const char* wanted = std::getenv("ESPALIER_TEST_DOES");
  return wanted && std::string(wanted) == what;
}

TEST(Watchdog, EndsAndNamesATestThatHangs) {
  if (does("hang")) {
    working_on("case 7");
    std::atomic<bool> never{false};
    std::thread([&] {
      while (!never) {
      }
    }).join();
  }
  const Outcome outcome = run_again("hang");
  EXPECT_EQ(WEXITSTATUS(outcome.status), 124) << outcome.output;
  EXPECT_NE(outcome.output.find("watchdog: Watchdog.EndsAndNamesATestThatHangs hangs"), std::string::npos)
      << outcome.output;
  EXPECT_NE(outcome.output.find("at case 7"), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find("support_test("), std::string::npos) << "no backtrace: " << outcome.output;
}

TEST(Watchdog, HasPatienceWhileCasesEnd) {
  if (does("work")) {
    for (int i = 0; i < 10; ++i) {
      working_on("case " + std::to_string(i));
      std::this_thread::sleep_for(std::chrono::milliseconds(60));
    }
    return;
  }
  const Outcome outcome = run_again("work");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

TEST(Watchdog, NamesATestThatCrashes) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer reports crashes";
#endif
  if (does("crash")) raise(SIGSEGV);
  const Outcome outcome = run_again("crash");
  EXPECT_NE(outcome.output.find("watchdog: Watchdog.NamesATestThatCrashes crashed"), std::string::npos)
      << outcome.output;
  EXPECT_NE(outcome.status, 0);
}

}  // namespace
}  // namespace espalier

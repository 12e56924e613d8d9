// How it runs: a thread of its own, which needs nothing of those that hang but that they take a signal.
#include "support/watchdog.h"

#include <dirent.h>
#include <execinfo.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

namespace espalier {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr int hung = 124;  // as timeout(1) has it
constexpr Seconds turn{0.05};

// What a signal handler may read: fixed memory, and no lock.
char running[1024] = "", at[1024] = "";
std::mutex mutex;
Seconds spent{0};

void keep(char (&to)[1024], const std::string& text) { to[text.copy(to, sizeof(to) - 1)] = '\0'; }

void say(std::initializer_list<const char*> parts) {
  for (const char* part : parts) static_cast<void>(!write(STDERR_FILENO, part, strlen(part)));
}
void say_where() {
  if (*at) say({" at ", at});
}

void print_backtrace(int) {
  void* frames[64];
  backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
  say({"\n"});
}

[[maybe_unused]] void crashed(int signal) {  // by sanitizers, which say more
  say({"watchdog: ", running, " crashed"});
  say_where();
  say({": ", strsignal(signal), "\n"});
  print_backtrace(signal);
  raise(signal);  // SA_RESETHAND: this time it ends the program
}

void backtrace_of_others() {
  const auto self = syscall(SYS_gettid);
  DIR* tasks = opendir("/proc/self/task");
  if (!tasks) return;
  while (const dirent* task = readdir(tasks)) {
    const long id = std::atol(task->d_name);
    if (id == 0 || id == self) continue;
    say({"watchdog: thread ", task->d_name, "\n"});
    syscall(SYS_tgkill, getpid(), id, SIGUSR2);
    std::this_thread::sleep_for(Seconds(0.1));  // one after the other
  }
  closedir(tasks);
}

void watch(Seconds limit) {
  for (auto before = std::chrono::steady_clock::now();;) {
    std::this_thread::sleep_for(std::min(turn, limit / 4));
    const auto now = std::chrono::steady_clock::now();
    const std::lock_guard lock(mutex);
    if (!*running) {
      spent = Seconds(0);
    } else if ((spent += std::min(4 * turn, Seconds(now - before))) > limit) {
      say({"watchdog: ", running, " hangs: no end after ", std::to_string(limit.count()).c_str(), " s"});
      say_where();
      say({"\n"});
      backtrace_of_others();
      _exit(hung);
    }
    before = now;
  }
}

class Listener : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo& test) override {
    set(std::string(test.test_suite_name()) + "." + test.name());
  }
  void OnTestEnd(const testing::TestInfo&) override { set(""); }

  static void set(const std::string& name) {
    const std::lock_guard lock(mutex);
    keep(running, name);
    keep(at, "");
    spent = Seconds(0);
  }
};

void handle(int signal, void (*handler)(int), unsigned flags) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = static_cast<int>(flags);
  sigaction(signal, &action, nullptr);
}

}  // namespace

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)  // which make tests ten times slower
constexpr double test_seconds = 1200;
#else
constexpr double test_seconds = 240;
#endif

void watch_tests() {
  testing::UnitTest::GetInstance()->listeners().Append(new Listener);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which report crashes better
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) handle(signal, crashed, SA_RESETHAND);
#endif
  const char* wish = std::getenv("ESPALIER_TEST_SECONDS");
  const Seconds limit(wish ? std::atof(wish) : test_seconds);
  if (!(limit > Seconds(0))) return;
  handle(SIGUSR2, print_backtrace, SA_RESTART);
  void* frame;
  backtrace(&frame, 1);  // loads libgcc now, not in the handler
  std::thread(watch, limit).detach();
}

void working_on(const std::string& what) {
  const std::lock_guard lock(mutex);
  keep(at, what);
  spent = Seconds(0);
}

}  // namespace espalier

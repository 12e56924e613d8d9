#include "espalier/util/jobs.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <memory>

#include "espalier/util/file_descriptor.h"
#include "espalier/util/interrupt.h"

namespace espalier {
namespace {

/// The signals that catch_interrupts notes wait while this lives.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t held;
    ::sigemptyset(&held);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&held, signal);
    ::pthread_sigmask(SIG_BLOCK, &held, &before_);
  }
  ~SignalsHeld() { let_through(); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;

  void let_through() const { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

/// What the new process does until it is another program: only what a signal handler may do, for other
/// threads may have held locks.
[[noreturn]] void become(const char* path, char* const* words, int nothing, int errors, pid_t parent,
                         const SignalsHeld& held) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);  // it has ended before it could be told
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(nothing, STDOUT_FILENO);
  ::dup2(errors, STDERR_FILENO);
  // One that comes now would be noted by a handler that is gone with this program.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before = {};
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) ::signal(signal, SIG_DFL);
  }
  held.let_through();
  ::execv(path, words);
  constexpr char why[] = "cannot be started\n";
  static_cast<void>(!::write(STDERR_FILENO, why, sizeof why - 1));
  ::_exit(127);
}

class Job {
 public:
  Job(size_t which, const std::string& path, const std::vector<std::string>& command)
      : which_(which), errors_(-1) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) fail_errno(path, "cannot be started: pipe");
    errors_ = FileDescriptor(ends[0]);
    const FileDescriptor writing(ends[1]), nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (nothing.get() < 0) fail_errno("/dev/null", "cannot be opened");
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    const SignalsHeld held;
    const pid_t parent = ::getpid();
    process_ = ::fork();
    if (process_ == 0) become(path.c_str(), words.data(), nothing.get(), writing.get(), parent, held);
    if (process_ < 0) fail_errno(path, "cannot be started: fork");
  }
  ~Job() {
    if (process_ <= 0) return;
    send(SIGTERM);
    wait();
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  size_t which() const { return which_; }
  int errors() const { return errors_.get(); }
  void send(int signal) const { ::kill(process_, signal); }

  /// Takes what it has written. False if it has ended.
  bool read() {
    constexpr size_t kept = size_t{1} << 16;
    char buffer[4096];
    const ssize_t got = ::read(errors_.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) return true;
    if (got <= 0) return false;
    end_.errors.append(buffer, static_cast<size_t>(got));
    if (end_.errors.size() > 2 * kept) end_.errors.erase(0, end_.errors.size() - kept);
    return true;
  }

  const JobEnd& wait() {
    int status = 0;
    while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) continue;
    process_ = 0;
    if (WIFSIGNALED(status)) end_.signal = WTERMSIG(status);
    if (WIFEXITED(status)) end_.code = WEXITSTATUS(status);
    return end_;
  }

 private:
  size_t which_;
  FileDescriptor errors_;
  pid_t process_ = 0;
  JobEnd end_;
};

/// Until one of them has written or ended, or a moment has passed: a signal may come just before.
void await(const std::vector<std::unique_ptr<Job>>& jobs, std::vector<pollfd>& found) {
  constexpr int moment_ms = 200;
  found.clear();
  for (const auto& job : jobs) found.push_back({.fd = job->errors(), .events = POLLIN, .revents = 0});
  if (::poll(found.data(), found.size(), moment_ms) < 0)
    for (pollfd& each : found) each.revents = 0;
}

}  // namespace

void run_jobs(const std::string& path, const std::vector<std::vector<std::string>>& commands, size_t most,
              const std::function<void(size_t which, const JobEnd& end)>& ended) {
  std::vector<std::unique_ptr<Job>> running;
  std::vector<pollfd> found;
  size_t next = 0;
  bool told = false;
  while (true) {
    const int signal = interrupt_signal();
    if (signal && !told)
      for (const auto& job : running) job->send(signal);
    told = signal != 0;
    while (!signal && next < commands.size() && running.size() < most) {
      running.push_back(std::make_unique<Job>(next, path, commands[next]));
      ++next;
    }
    if (running.empty()) break;
    await(running, found);
    for (size_t i = running.size(); i-- > 0;) {
      if (!found[i].revents || running[i]->read()) continue;
      const std::unique_ptr<Job> job = std::move(running[i]);
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
      ended(job->which(), job->wait());
    }
  }
  stop_if_interrupted();
}

}  // namespace espalier

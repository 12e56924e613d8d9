// Jobs: programs that run as processes of their own, some at a time.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace espalier {

struct JobEnd {
  int code = 0;             ///< its exit code
  int signal = 0;           ///< that has ended it; 0: none has
  std::string errors = {};  ///< what it wrote to standard error, of much the last

  bool succeeded() const { return code == 0 && signal == 0; }
};

/// Runs the program at `path` once with each of `commands`, whose first word is the name that it goes by:
/// `most` at a time, begun in their order. They read nothing, and what they write to standard output is
/// dropped. `ended` is told of each, on this thread, as it ends; what it throws ends the others by SIGTERM.
/// A signal that has come (catch_interrupts) is passed on, once, to those that run; none begins after it, and
/// when all have ended Interrupted is thrown. Where this process ends without that, they get a SIGTERM.
/// Error if one cannot be started.
void run_jobs(const std::string& path, const std::vector<std::vector<std::string>>& commands, size_t most,
              const std::function<void(size_t which, const JobEnd& end)>& ended);

}  // namespace espalier

#include "espalier/cli/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "espalier/cli/command.h"
#include "espalier/core/isa.h"
#include "espalier/core/reason.h"
#include "espalier/util/error.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/mistakes.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

void run(const Given& given) {
  if (given.empty())
    fail_usage("no command given; usage: espalier ", fmt::format("{}", fmt::join(commands().names(), "|")),
               " ...; `espalier help` says more");
  const std::string& name = given.front();
  const Given rest(given.begin() + 1, given.end());
  if (name == "--help" || name == "-h") return command_named("help").run(rest);
  if (name == "--version" || name == "-V") return version_line();
  if (name == "__complete") return complete(rest);
  if (name.starts_with("-"))
    fail_usage("'", printable(name), "' stands before the command; options come after it");
  const Command& command = command_named(name);
  if (name != "help") isa();  // an instruction set that this machine lacks is said before anything is done
  command.run(rest);
}

/// Where standard input, output or error is closed, the next file that is opened would take its number, and
/// what is printed would land in it.
void open_standard_streams() {
  for (const int stream : {0, 1, 2})
    if (::fcntl(stream, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) != stream) std::_Exit(1);
}

volatile std::sig_atomic_t reader_gone = 0;
void note_closed_pipe(int) { reader_gone = 1; }

/// A reader that has gone (`| head`) is no failure; a full disk is.
void finish_output() {
  const bool failed = std::fflush(stdout) != 0 || std::ferror(stdout);
  if (failed && !reader_gone) fail("standard output: cannot be written");
}

/// Says why, if anybody can hear it; a pipe whose reader has gone ends the program as it ends others.
int failed(int code, const std::exception& error) {
  std::fflush(stdout);
  std::vector<std::string> lines{reason_of(error)};
  if (const auto* several = dynamic_cast<const SeveralLines*>(&error)) lines = several->lines;
  for (const std::string& line : lines)
    if (!cli::error(line) && errno == EPIPE) {
      std::signal(SIGPIPE, SIG_DFL);
      std::raise(SIGPIPE);
    }
  return code;
}

}  // namespace
}  // namespace espalier::cli

int espalier::program(int argc, char** argv, void (*register_all)()) {
  cli::open_standard_streams();
  std::signal(SIGPIPE, cli::note_closed_pipe);  // a closed pipe and a full disk are errors of the write,
  std::signal(SIGXFSZ, SIG_IGN);                // not the end of the program
  try {
    if (register_all) register_all();
    cli::run({argv + 1, argv + argc});
    cli::finish_output();
    return 0;
  } catch (const Interrupted& interrupted) {
    return 128 + interrupted.signal();
  } catch (const UsageError& error) {
    return cli::failed(2, error);
  } catch (const std::exception& error) {
    return cli::failed(1, error);
  }
}

#include "espalier/train/console.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "espalier/core/error.h"
#include "espalier/core/utf8.h"
#include "espalier/formats/input_file.h"

namespace espalier {
namespace {

/// A live line that wraps could not be replaced.
size_t terminal_width() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

}  // namespace

Console::Console(bool quiet) : quiet_(quiet), live_(!quiet && isatty(STDOUT_FILENO) == 1) {
  const char* terminal = std::getenv("TERM");
  if (terminal && std::string(terminal) == "dumb") live_ = false;
}

Console::~Console() { clear_live(); }

void Console::log_to(const std::filesystem::path& file) {
  std::error_code none;
  if (!std::filesystem::is_character_file(file, none)) check_regular(file);  // a terminal may be looked at
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.string());
    log_ = std::make_shared<spdlog::logger>("espalier", std::move(sink));
    log_->set_pattern("%Y-%m-%d %H:%M:%S  %v");
    log_->flush_on(spdlog::level::info);
    log_->set_error_handler([file](const std::string&) { fail_errno(file, "cannot be written"); });
  } catch (const spdlog::spdlog_ex&) {
    fail_errno(file, "cannot be written");
  }
}

void Console::line(const std::string& text) {
  clear_live();
  std::istringstream lines(printable_lines(text, longest_message));
  for (std::string each; std::getline(lines, each);) {
    if (!quiet_) std::fputs((each + "\n").c_str(), stdout);  // a reader that has gone does not end a run
    if (log_) log_->info("{}", each);
  }
  if (!quiet_) std::fflush(stdout);
}

void Console::warn(const std::string& text) {
  clear_live();
  std::fflush(stdout);
  std::fputs((printable(text, longest_message) + "\n").c_str(), stderr);
  note(text);
}

void Console::note(const std::string& text) {
  try {
    if (log_) log_->warn("{}", printable(text, longest_message));
  } catch (const Error&) {  // a log that cannot be written must not hide what it was to hold
  }
}

void Console::live(const std::string& text) {
  if (!live_) return;
  std::fputs(("\r\x1b[K" + printable(text).substr(0, terminal_width() - 1)).c_str(), stdout);
  std::fflush(stdout);
  shown_ = true;
}

void Console::clear_live() {
  if (!shown_) return;
  std::fputs("\r\x1b[K", stdout);
  std::fflush(stdout);
  shown_ = false;
}

}  // namespace espalier

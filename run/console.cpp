#include "espalier/run/console.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "espalier/util/error.h"
#include "espalier/util/input_file.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/terminal.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

/// From the cursor on; it stands at the live line's beginning, so that it is there, too, when the terminal
/// has been made narrower and has wrapped what stood there.
constexpr const char* erase = "\r\x1b[J";

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
  folder_ = file.parent_path().string();
}

void Console::write(const std::string& shown, const std::string& kept) {
  clear_live();
  if (!quiet_ && !shown.empty()) {
    const std::string text = printable_lines(shown, longest_message);
    std::fputs((text + (text.ends_with('\n') ? "" : "\n")).c_str(), stdout);  // a reader that has gone does
    std::fflush(stdout);                                                      // not end a run
  }
  if (!log_) return;
  std::istringstream lines(printable_lines(kept, longest_message));
  for (std::string each; std::getline(lines, each);) log_->info("{}", each);
}

void Console::line(const std::string& text) {
  write(wrapped(printable_lines(text, longest_message), terminal_width()), text);
}

void Console::line(const std::vector<std::string>& fields) {
  write(fitted(fields, terminal_width()), fitted(fields, any_width));
}

void Console::lines(const std::function<std::string(size_t width)>& text) {
  write(text(terminal_width()), text(any_width));
}

void Console::warn(const std::string& text) {
  constexpr std::string_view warning = "warning: ";
  std::string shown = text;
  if (quiet_ && !folder_.empty() && text.starts_with(warning)) shown.insert(warning.size(), folder_ + ": ");
  clear_live();
  std::fflush(stdout);
  std::fputs((coloured(printable(shown, longest_message), Colour::yellow, STDERR_FILENO) + "\n").c_str(),
             stderr);
  note(text);
}

void Console::note(const std::string& text) {
  try {
    if (log_) log_->warn("{}", printable(text, longest_message));
  } catch (const Error&) {  // a log that cannot be written must not hide what it was to hold
  }
}

void Console::live(const std::vector<std::string>& fields) {
  if (!live_) return;
  const std::string text = printable(fitted(fields, terminal_width() - 1));  // a full line would wrap
  std::fputs((text + "\x1b[J\r").c_str(), stdout);
  std::fflush(stdout);
  shown_ = true;
  last_words(erase);
}

void Console::clear_live() {
  // The "^C" of a terminal that interrupts lies where a live line would, whether one is shown or not.
  if (!shown_ && !(live_ && interrupt_signal() != 0)) return;
  std::fputs(erase, stdout);
  std::fflush(stdout);
  shown_ = false;
  last_words(nullptr);
}

}  // namespace espalier

// What a person sees while a run goes on, and what log.txt keeps. Lines go to standard output and to the log;
// on a terminal the last line may be a live one, which the next replaces.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace spdlog {
class logger;
}

namespace espalier {

class Console {
 public:
  /// `quiet`: nothing on the terminal; the log is kept all the same.
  explicit Console(bool quiet);
  ~Console();

  /// From now on lines are also appended to this file, with the time.
  void log_to(const std::filesystem::path& file);
  /// One or more lines.
  void line(const std::string& text);
  /// The same, to standard error even when quiet: what a person must know.
  void warn(const std::string& text);
  /// To the log alone.
  void note(const std::string& text);
  /// Replaces the live line, on a terminal only.
  void live(const std::string& text);
  bool is_live() const { return live_; }

 private:
  void clear_live();

  bool quiet_, live_, shown_ = false;
  std::shared_ptr<spdlog::logger> log_;
};

}  // namespace espalier

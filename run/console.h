// What a person sees while a run goes on, and what log.txt keeps. Lines go to standard output and to the log;
// on a terminal the last line may be a live one, which the next replaces. What a terminal shows fits its
// width, whatever that is by then; the log has all of it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace spdlog {
class logger;
}

namespace espalier {

class Console {
 public:
  /// `quiet`: nothing on the terminal; the log is kept all the same.
  explicit Console(bool quiet);
  ~Console();

  /// From now on lines are also appended to this file of a run's folder, with the time.
  void log_to(const std::filesystem::path& file);
  /// One or more lines; a terminal that is too narrow has them broken at spaces.
  void line(const std::string& text);
  /// One line of fields; a terminal that is too narrow drops them from the right.
  void line(const std::vector<std::string>& fields);
  /// Lines that are made to fit a width, such as those of tables.
  void lines(const std::function<std::string(size_t width)>& text);
  /// The same, to standard error even when quiet: what a person must know. Nothing else says then whose
  /// warning it is, so the run's folder stands before it.
  void warn(const std::string& text);
  /// Only to the log.
  void note(const std::string& text);
  /// Replaces the live line, on a terminal only; fields that do not fit are dropped from the right.
  void live(const std::vector<std::string>& fields);
  bool is_live() const { return live_; }

 private:
  void clear_live();
  /// `shown` to standard output, `kept` to the log.
  void write(const std::string& shown, const std::string& kept);

  bool quiet_, live_, shown_ = false;
  std::shared_ptr<spdlog::logger> log_;
  std::string folder_;
};

}  // namespace espalier

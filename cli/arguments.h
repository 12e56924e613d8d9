// Arguments: a command's arguments, declared and read. CLI11 does the parsing, the messages
// are ours.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "espalier/cli/command.h"

namespace CLI {  // left to arguments.cpp: its header takes seconds to compile
class App;
class ParseError;
}  // namespace CLI

namespace espalier::cli {

/// An argument as a command declares it.
struct Argument {
  std::string name;    ///< "--output", or "CONFIG" of one that stands by itself
  std::string letter;  ///< "-h" of "--help"; empty: none
  std::string value;   ///< what stands for its value in the help: "DIR"; empty: a flag
  std::string help;
  bool is_option = false, is_required = false, is_repeatable = false;
};
/// The arguments of a command, in the order of their declaration; the command does nothing else.
std::vector<Argument> arguments_of(const Command& command);

class Arguments {
 public:
  /// For the command of that name.
  explicit Arguments(const std::string& command);
  ~Arguments();

  /// What stands without an option's name: one, or at least one.
  Arguments& positional(const std::string& name, std::string& into, const std::string& help);
  Arguments& positional(const std::string& name, std::vector<std::string>& into, const std::string& help);
  Arguments& optional_positional(const std::string& name, std::string& into, const std::string& help);

  Arguments& flag(const std::string& name, bool& into, const std::string& help);
  /// Text that may not be empty; `value` stands for it in the help.
  Arguments& text(const std::string& name, const std::string& value, std::optional<std::string>& into,
                  const std::string& help);
  /// The same for a path, which may begin with the home folder's ~.
  Arguments& path(const std::string& name, const std::string& value, std::optional<std::string>& into,
                  const std::string& help);
  Arguments& whole(const std::string& name, int64_t& into, int64_t from, int64_t to, const std::string& help);
  Arguments& seconds(const std::string& name, double& into, const std::string& help);
  /// A number of at least 0.
  Arguments& amount(const std::string& name, std::optional<double>& into, const std::string& help);

  // Those that several commands have.
  Arguments& overrides(std::vector<std::string>& into);
  Arguments& data_root(std::optional<std::string>& into);
  /// Takes effect in parse(), as the two that follow; unless `planned`, if given, is set by then: nothing is
  /// computed, and the device must be a card, which need not be there.
  Arguments& device(const bool* planned = nullptr);
  Arguments& precision(std::optional<std::string>& into);
  Arguments& threads();

  /// Reads `given`. False if it asks for help, which has then been printed. UsageError for anything that was
  /// not declared, is missing, or is not what was declared.
  bool parse(const Given& given);

 private:
  /// Of a positional argument's value.
  std::function<std::string(const std::string&)> not_empty(const std::string& name) const;
  /// What is wrong, in one line of ours.
  std::string mistake(const CLI::ParseError& error) const;
  /// Of all that is `given`, nobody asked for `argument`.
  [[noreturn]] void fail_unknown(const std::string& argument, const Given& given) const;
  std::vector<std::string> option_names() const;
  std::vector<Argument> declared() const;

  std::string command_;
  std::unique_ptr<CLI::App> app_;
  bool computes_ = false;  ///< has --threads
  std::string device_ = "cpu";
  const bool* planned_ = nullptr;
  std::optional<std::string>* precision_ = nullptr;
};

}  // namespace espalier::cli

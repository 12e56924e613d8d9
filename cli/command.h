// Command: what every subcommand is, and the list of them. A command reads its arguments, calls what does the
// work and prints what came of it; there is no algorithm in this folder.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "espalier/util/registry.h"
#include "espalier/util/terminal.h"

namespace espalier::cli {

/// What stands after the command's name.
using Given = std::vector<std::string>;

struct Command {
  std::string name;
  std::string help;  ///< one line
  /// Throws UsageError for wrong arguments; "--help" among them prints the command's help and does nothing
  /// else. It declares its arguments (arguments.h) and has them parsed before it does anything.
  void (*run)(const Given& given);
  /// What `espalier help NAME` says after the command's own help; null: nothing.
  std::string (*more)() = nullptr;
};

/// Of Espalier, and of a program that has added some.
Registry<Command>& commands();
/// UsageError with the nearest name if there is none of this name.
const Command& command_named(const std::string& name);

/// `espalier __complete WORD...`, which the shells' scripts call: what the last of the words after
/// "espalier" may become, a line each, "WORD<tab>HELP"; a last line ":files" or ":folders" where a path may
/// stand.
void complete(const Given& words);
/// `espalier --version`
void version_line();

/// Every word that `help` has an answer to.
std::vector<std::string> help_words();
/// The commands and what `help` has more to say about.
std::string overview();

/// To standard output, lines that a terminal may show whatever is in them. Whether all of it could be written
/// is asked once, at the end (main.cpp).
void print(const std::string& text);
/// The same in colour, where it is a terminal that shows it.
void print(const std::string& text, Colour colour);
/// JSON in ASCII, which is the same JSON; `indent` as nlohmann has it.
void print_json(const nlohmann::ordered_json& json, int indent = -1);
/// A line to standard error. False, with errno, where it cannot be written: there is nobody left to tell.
bool note(const std::string& line);
/// The same in the colour of warnings, and "espalier: REASON" in that of errors.
bool warn(const std::string& line);
bool error(const std::string& reason);

}  // namespace espalier::cli

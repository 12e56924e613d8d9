#include "espalier/cli/usage.h"

#include "espalier/util/definition_list.h"
#include "espalier/util/terminal.h"

namespace espalier::cli {

std::string spelled(const Argument& argument) {
  if (!argument.is_option) return argument.name + (argument.is_repeatable ? "..." : "");
  return (argument.letter.empty() ? "" : argument.letter + ", ") + argument.name +
         (argument.value.empty() ? "" : " " + argument.value);
}

std::string synopsis(const Command& command, const std::vector<Argument>& arguments) {
  std::string text = "espalier " + command.name + " [OPTIONS]";
  for (const Argument& argument : arguments) {
    if (argument.is_option) continue;
    text += argument.is_required ? " " + spelled(argument) : " [" + spelled(argument) + "]";
  }
  return text;
}

std::string usage(const Command& command, const std::vector<Argument>& arguments, size_t width) {
  std::vector<Definition> positionals, options;
  for (const Argument& argument : arguments)
    (argument.is_option ? options : positionals).push_back({spelled(argument), argument.help});
  std::string text = wrapped(command.help, width) + wrapped("Usage: " + synopsis(command, arguments), width);
  if (!positionals.empty()) text += "\nArguments:\n" + definition_list(positionals, width);
  return text + "\nOptions:\n" + definition_list(options, width);
}

}  // namespace espalier::cli

#include "espalier/cli/man.h"

#include "espalier/cli/environment.h"
#include "espalier/cli/usage.h"
#include "espalier/run/version.h"

namespace espalier::cli {
namespace {

/// `text` as roff shows it as it is.
std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (result.empty() && (c == '.' || c == '\'')) result += "\\&";
    if (c == '\\')
      result += "\\e";
    else if (c == '-')
      result += "\\-";
    else if (c == '~')
      result += "\\(ti";
    else if (c == '^')
      result += "\\(ha";
    else if (c == '`')
      result += "\\(ga";
    else if (c == '\'')
      result += "\\(aq";
    else
      result += c;
  }
  return result;
}

std::string bold(const std::string& text) { return "\\fB" + escaped(text) + "\\fR"; }

std::string item(const std::string& name, const std::string& text) {
  return ".TP\n" + bold(name) + "\n" + escaped(text) + "\n";
}

}  // namespace

std::string man_page() {
  std::string page =
      ".TH ESPALIER 1 \"\" \"espalier " + std::string(espalier::version()) +
      "\" \"User Commands\"\n"
      ".SH NAME\n"
      "espalier \\- trains neural networks and prunes them\n"
      ".SH SYNOPSIS\n" +
      bold("espalier") + " \\fICOMMAND\\fR ...\n.br\n" + bold("espalier help") + " [\\fITOPIC\\fR]\n.br\n" +
      bold("espalier --version") +
      "\n.SH DESCRIPTION\n"
      "A config, a JSON file, names a model, a data set and the stages of a run: training, "
      "pruning, evaluation.\nFields of configs, data sets, models and criteria are described by\n" +
      bold("espalier help") + ".\n.SH COMMANDS\n";
  for (const Command& command : commands()) {
    const std::vector<Argument> arguments = arguments_of(command);
    page += ".SS " + escaped(synopsis(command, arguments)) + "\n" + escaped(command.help) + ".\n";
    for (const Argument& argument : arguments)
      if (argument.name != "--help") page += item(spelled(argument), argument.help);
  }
  page += ".SH ENVIRONMENT\n";
  for (const Definition& variable : environment_variables()) page += item(variable.name, variable.text);
  page += ".SH EXIT STATUS\n";
  for (const Definition& code : exit_codes()) page += item(code.name, code.text);
  return page;
}

}  // namespace espalier::cli

#include <cstdio>

#include "espalier/cli/command.h"
#include "espalier/core/error.h"
#include "espalier/core/spelling.h"

namespace espalier::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> all{
      {"train", "Trains, prunes and fine-tunes as a config says, into a folder", train},
      {"check", "Checks a config and its data, says what a run would cost; trains nothing", check},
      {"eval", "Accuracy and loss of a checkpoint on its test set", eval},
      {"inspect", "Layers, parameters, non-zeros and MACs of a config's or a checkpoint's model", inspect},
      {"graph", "Which channels of a config's or a checkpoint's model must be cut together", graph},
      {"compare", "The final tables of runs side by side", compare},
      {"bench", "How fast a model trains or infers here, on random data", bench},
      {"help", "Help on a command, or on config, models, data, criteria, schema", help},
      {"version", "Version, instruction sets, threads, compiler", version},
  };
  return all;
}

const Command& command_named(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    if (command.name == name) return command;
    names.push_back(command.name);
  }
  if (name.ends_with(".json"))
    fail_usage("no command '", name, "', did you mean 'espalier train ", name, "'?");
  const std::string nearest = did_you_mean(name, names);
  fail_usage("no command '", name, "'", nearest.empty() ? "; `espalier help` lists them" : nearest);
}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

}  // namespace espalier::cli

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "espalier/cli/command.h"
#include "espalier/util/error.h"
#include "espalier/util/spelling.h"
#include "espalier/util/terminal.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {

// Each in a source of its own, of the same name.
void train(const Given& given);
void check(const Given& given);
void eval(const Given& given);
void predict(const Given& given);
void inspect(const Given& given);
void graph(const Given& given);
void pack(const Given& given);
void unpack(const Given& given);
void import_(const Given& given);
void export_(const Given& given);
void sweep(const Given& given);
std::string sweep_fields();
void explain(const Given& given);
void sensitivity(const Given& given);
void compare(const Given& given);
void bench(const Given& given);
void help(const Given& given);
void version(const Given& given);
void completion(const Given& given);

Registry<Command>& commands() {
  static Registry<Command> all(
      "command",
      {
          {"train", "Trains, prunes and fine-tunes as a config says, into a folder", train},
          {"check", "Checks a config and its data, says what a run would cost; trains nothing", check},
          {"eval", "Accuracy and loss of a checkpoint on its test set", eval},
          {"predict", "The likeliest classes of images, by a checkpoint", predict},
          {"inspect", "Layers, parameters, non-zeros and MACs of a config's or a checkpoint's model",
           inspect},
          {"graph", "Which channels of a config's or a checkpoint's model must be cut together", graph},
          {"pack",
           "A model or checkpoint whose zeros take almost no room; all that reads the one reads the other",
           pack},
          {"unpack", "What was packed, as any program reads it", unpack},
          {"import", "An ONNX file's network, as a model that trains, is pruned and exported like any other",
           import_},
          {"export", "A checkpoint's network as an ONNX file, which other runtimes read", export_},
          {"explain", "What a pruner of a config would take of each layer, and why; changes no file",
           explain},
          {"sensitivity", "What pruning each layer by itself costs a checkpoint, by how much of it goes",
           sensitivity},
          {"sweep", "Trains a config at several settings and with several seeds, into a table of means",
           sweep, sweep_fields},
          {"compare", "Runs side by side: what differs in their configs, and what they came to", compare},
          {"bench", "How fast a model trains or infers here, on random data", bench},
          {"help", "Help on a command, a topic, or a name in configs: a field, a criterion, a model", help},
          {"completion", "A script that completes espalier's arguments in bash, zsh or fish", completion},
          {"version", "Version, instruction sets, threads, compiler", version},
      });
  return all;
}

const Command& command_named(const std::string& name) {
  if (const Command* command = commands().find(name)) return *command;
  if (name.ends_with(".json"))
    fail_usage("no command '", printable(name), "', did you mean 'espalier train ", printable(name), "'?");
  const std::string nearest = did_you_mean(name, commands().names());
  fail_usage("no command '", printable(name), "'",
             nearest.empty() ? "; `espalier help` lists them" : nearest);
}

namespace {
bool write(const std::string& text, std::FILE* to) {
  return std::fwrite(text.data(), 1, text.size(), to) == text.size();
}
}  // namespace

void print(const std::string& text) { write(printable_lines(text), stdout); }

void print(const std::string& text, Colour colour) {
  for (const std::string_view line : lines_of(text))
    write(coloured(printable(line, longest_message), colour, STDOUT_FILENO) + "\n", stdout);
}

void print_json(const nlohmann::ordered_json& json, int indent) {
  constexpr bool ascii = true;
  write(json.dump(indent, ' ', ascii, nlohmann::ordered_json::error_handler_t::replace) + "\n", stdout);
}

bool note(const std::string& line) { return write(printable(line, longest_message) + "\n", stderr); }

bool warn(const std::string& line) {
  return write(coloured(printable(line, longest_message), Colour::yellow, STDERR_FILENO) + "\n", stderr);
}

bool error(const std::string& reason) {
  const std::string who = "espalier:", line = printable(who + " " + reason, longest_message);
  return write(coloured(who, Colour::red, STDERR_FILENO) + line.substr(who.size()) + "\n", stderr);
}

}  // namespace espalier::cli

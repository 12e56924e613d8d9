// espalier completion, and what the scripts that it prints ask for
#include <fmt/format.h>

#include <algorithm>

#include "espalier/cli/arguments.h"
#include "espalier/cli/completion_scripts.h"
#include "espalier/config/schema.h"
#include "espalier/nn/models/models.h"
#include "espalier/run/config.h"
#include "espalier/run/methods.h"
#include "espalier/run/recipes.h"
#include "espalier/run/run_folder.h"
#include "espalier/util/error.h"
#include "espalier/util/home.h"
#include "espalier/util/spelling.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

struct Candidate {
  std::string word, help;
};
struct Candidates {
  std::vector<Candidate> words = {};
  std::string paths = {};  ///< ":files", ":folders" or empty
};

Candidates all_of(const std::vector<std::string>& words) {
  Candidates candidates;
  for (const std::string& word : words) candidates.words.push_back({word, ""});
  return candidates;
}

/// Names of the stages of a config, or of the one of a run's folder; none while it cannot be read.
std::vector<std::string> stages_of(const std::string& given) {
  std::vector<std::string> names;
  try {
    const std::string folder = expand_home(given);  // the shell has left ~ as it was typed
    const RunFolder run(folder);
    const std::string file = run.holds_run() ? run.config().string() : find_config(folder);
    for (const StageConfig& stage : load_config(file).stages) names.push_back(stage.name);
  } catch (const std::exception&) {  // NOLINT: whoever presses Tab wants no message
  }
  return names;
}

/// What a value of the described type may be, as --set takes it.
std::vector<std::string> values_of(const schema::Description& type) {
  if (type.json_schema.value("type", "") == "boolean") return {"true", "false"};
  return type.names();
}

/// Of --set: the fields one step below what is typed, or the values of the one that is.
Candidates assignments(const std::string& typed, const std::string& config) {
  const size_t equals = typed.find('=');
  const std::string path = typed.substr(0, equals);
  const schema::Description* object = &config_description();
  bool in_list = false;  // the next part names an element
  size_t begin = 0;
  const auto enter = [&](const schema::FieldDescription& field) {
    object = &field.inner();
    in_list = field.type->element != nullptr;
  };
  for (size_t dot; (dot = path.find('.', begin)) != path.npos; begin = dot + 1) {
    if (in_list) {
      in_list = false;
      continue;
    }
    const schema::FieldDescription* field = object->find(path.substr(begin, dot - begin));
    if (!field) return {};
    enter(*field);
  }
  const std::string parent = path.substr(0, begin);
  Candidates candidates;
  if (equals != typed.npos) {
    const schema::FieldDescription* field = in_list ? nullptr : object->find(path.substr(begin));
    if (!field || field->type->element) return {};
    for (const std::string& value : values_of(*field->type))
      candidates.words.push_back({path + "=" + value, ""});
  } else if (in_list) {
    if (parent == "stages.")
      for (const std::string& name : stages_of(config))
        candidates.words.push_back({parent + name + ".", "a stage"});
  } else {
    for (const schema::FieldDescription& field : object->fields)
      candidates.words.push_back({parent + field.name + (field.inner().is_object() ? "." : "="), field.help});
  }
  return candidates;
}

/// What the argument's value may be; `first` is the command's first argument.
Candidates values(const Argument& argument, const std::string& typed, const std::string& first) {
  const std::string& kind = argument.is_option ? argument.value : argument.name;
  const bool is_choice =
      kind.find('|') != kind.npos && std::ranges::none_of(kind, [](char c) { return c >= 'A' && c <= 'Z'; });
  if (is_choice) {  // "cpu|cuda"
    Candidates choices;
    for (size_t begin = 0, end = 0; end != kind.npos; begin = end + 1) {
      end = kind.find('|', begin);
      choices.words.push_back({kind.substr(begin, end - begin), ""});
    }
    return choices;
  }
  if (kind == "PATH=VALUE") return assignments(typed, first);
  if (kind == "TOPIC") return all_of(help_words());
  if (kind == "METHOD") return all_of(first == "methods" ? methods().names() : std::vector<std::string>{});
  if (argument.name == "--model") return all_of(models().names());
  if (kind == "DIR" || kind == "ROOT" || kind == "RUN" || kind == "FOLDER") return {.paths = ":folders"};
  const bool is_path = !argument.is_option || kind.find("FILE") != kind.npos;
  Candidates paths = {.paths = is_path ? ":files" : ""};
  if (kind.starts_with("CONFIG"))
    for (const Recipe& recipe : recipes()) paths.words.push_back({recipe.name, "a recipe"});
  return paths;
}

Candidates candidates(const Given& words) {
  Candidates found;
  const std::string& typed = words.back();
  if (words.size() == 1) {
    for (const Command& command : commands()) found.words.push_back({command.name, command.help});
    if (typed.starts_with("-")) found = all_of({"--help", "--version"});
    return found;
  }
  const Command* command = commands().find(words.front());
  if (!command) return {};
  const std::vector<Argument> arguments = arguments_of(*command);
  const auto option = [&](const std::string& name) {
    return std::ranges::find_if(arguments, [&](const Argument& a) { return a.is_option && a.name == name; });
  };

  Given positionals;
  const Argument* waiting = nullptr;  // the option whose value comes next
  for (auto word = words.begin() + 1; word != words.end() - 1; ++word) {
    const auto found_option = option(*word);
    if (waiting)
      waiting = nullptr;
    else if (found_option != arguments.end())
      waiting = found_option->value.empty() ? nullptr : &*found_option;
    else if (!word->starts_with("-"))
      positionals.push_back(*word);
  }
  const std::string first = positionals.empty() ? "" : positionals.front();
  if (waiting) return values(*waiting, typed, first);
  if (const size_t equals = typed.find('='); typed.starts_with("-") && equals != typed.npos) {
    const auto named = option(typed.substr(0, equals));
    if (named == arguments.end()) return {};
    found = values(*named, typed.substr(equals + 1), first);
    for (Candidate& each : found.words) each.word = named->name + "=" + each.word;
    return found;
  }
  if (typed.starts_with("-")) {
    for (const Argument& argument : arguments) {
      const bool is_given = std::find(words.begin() + 1, words.end() - 1, argument.name) != words.end() - 1;
      if (argument.is_option && (!is_given || argument.is_repeatable))
        found.words.push_back({argument.name, argument.help});
    }
    return found;
  }
  size_t place = 0;
  for (const Argument& argument : arguments) {
    if (argument.is_option) continue;
    if (place++ == positionals.size() || argument.is_repeatable) return values(argument, typed, first);
  }
  return found;
}

}  // namespace

void complete(const Given& words) {
  if (words.empty()) return;
  const Candidates found = candidates(words);
  for (const Candidate& each : found.words)
    if (each.word.starts_with(words.back()))
      fmt::print("{}{}{}\n", printable(each.word), each.help.empty() ? "" : "\t", printable(each.help));
  if (!found.paths.empty()) fmt::print("{}\n", found.paths);
}

void completion(const Given& given) {
  std::string shell;
  Arguments arguments("completion");
  arguments.positional("bash|zsh|fish", shell,
                       "Whose script to print, e.g. source <(espalier completion bash)");
  if (!arguments.parse(given)) return;
  const auto script = completion_scripts().find(shell);
  if (script == completion_scripts().end())
    fail_usage("completion: found '", printable(shell), "', expected bash, zsh or fish",
               did_you_mean(shell, {"bash", "zsh", "fish"}));
  print(script->second);
}

}  // namespace espalier::cli

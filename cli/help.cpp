// espalier help
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "espalier/cli/environment.h"
#include "espalier/cli/man.h"
#include "espalier/cli/usage.h"
#include "espalier/config/layout.h"
#include "espalier/config/schema_help.h"
#include "espalier/data/datasets.h"
#include "espalier/graph/op.h"
#include "espalier/nn/init.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/sequential.h"
#include "espalier/penalty/penalty.h"
#include "espalier/prune/criterion.h"
#include "espalier/prune/regrow.h"
#include "espalier/prune/schedule.h"
#include "espalier/prune/scope.h"
#include "espalier/prune/signals.h"
#include "espalier/run/config.h"
#include "espalier/run/methods.h"
#include "espalier/run/recipes.h"
#include "espalier/train/callbacks.h"
#include "espalier/train/loss.h"
#include "espalier/util/definition_list.h"
#include "espalier/util/error.h"
#include "espalier/util/spelling.h"
#include "espalier/util/terminal.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

/// Lines of prose as the terminal has room for them.
std::string prose(const std::string& text) { return wrapped(text, help_width()); }
std::string list(const std::vector<Definition>& entries, size_t indent = 2) {
  return definition_list(entries, help_width(), indent);
}

Definition model_entry(const ModelInfo& info) {
  if (info.input.axes() == 0) return {info.name, info.help};
  return {info.name, fmt::format("{}; input {}, {} classes", info.help, fmt::join(info.input.sizes(), "x"),
                                 info.classes)};
}

std::string models_help() {
  std::vector<Definition> entries;
  for (const ModelInfo& info : models()) entries.push_back(model_entry(info));
  return prose(
             "A config names a model as \"model\": {\"type\": NAME, ...}. Its input is this unless told "
             "otherwise; its classes are the data set's, and these where data are synthetic.\n\n") +
         list(entries) +
         prose("\nOptions of each: `espalier help NAME`. Layers and sizes: `espalier inspect CONFIG`.\n");
}

std::string declared_in_config(const std::string& word);

std::string layers_help() {
  std::vector<Definition> kinds;
  for (const LayerKind& kind : layer_kinds()) kinds.push_back({kind.name, kind.help});
  return prose(
             "A config writes a network down as \"model\": {\"type\": \"layers\", \"layers\": "
             "[{\"type\": NAME, ...}, ...]}, one layer after another; docs/layers.md has examples.\n\n") +
         list(kinds) + "\n" + declared_in_config("layers");
}

/// "x, weight, [bias]; stride (1), pad (0)"
std::string op_text(const Op& op) {
  std::vector<std::string> inputs, attributes;
  for (const OpInput& input : op.inputs)
    inputs.push_back(input.kind == OpInput::optional   ? fmt::format("[{}]", input.name)
                     : input.kind == OpInput::variadic ? fmt::format("{}...", input.name)
                                                       : std::string(input.name));
  for (const OpAttribute& attribute : op.attributes) {
    const std::string otherwise =
        std::visit([](const auto& v) { return fmt::format("{}", v); }, attribute.otherwise);
    attributes.push_back(attribute.is_required ? std::string(attribute.name)
                                               : fmt::format("[{} {}]", attribute.name, otherwise));
  }
  return fmt::format("{}{}{}", fmt::join(inputs, ", "), attributes.empty() ? "" : "; ",
                     fmt::join(attributes, ", "));
}

std::string ops_help() {
  std::vector<Definition> entries;
  for (const Op* op : op_catalogue())
    if (op->run) entries.push_back({op->name, op_text(*op)});
  return prose(
             "What a network in a file is made of (docs/formats.md): ops with their inputs and attributes. "
             "Brackets "
             "show what may be left out, for attributes with the default.\n\n") +
         list(entries);
}

std::string data_help() {
  std::vector<Definition> entries;
  for (const DatasetInfo& info : datasets()) entries.push_back({info.name, info.help});
  const auto no_archives = datasets().names_where(
      [](const DatasetInfo& info) { return info.reads_files() && !info.reads_archives; });
  return prose("A config names a data set as \"data\": {\"type\": NAME, ...}.\n\n") + list(entries) +
         prose(fmt::format(
             "\nThe root is the folder that data sets are in: --data ROOT, else \"data\".\"root\" in the "
             "config, else the environment variable ESPALIER_DATA, else data. \"data\".\"path\" names a "
             "set's own folder, relative to the root; or, except for {}, an archive of it: .tar, .tar.gz or "
             ".tar.xz.\n"
             "\n"
             "To get them: scripts/get-data mnist (11 MB, into data), cifar10 or cifar100 (170 MB each). "
             "Fields in a config: `espalier help config.data`.\n",
             fmt::join(no_archives, ", ")));
}

/// Of a coupled channel.
std::string scored_help(Scored scored) {
  switch (scored) {
    case Scored::all:
      return "the weights that make and read it and its norms' scales";
    case Scored::makers:
      return "the weights that make it";
    case Scored::scales:
      return "its norms' scales";
    case Scored::none:
      break;
  }
  return "nothing";
}

/// What of these a criterion sees, and what becomes of a channel's scores.
std::string needs_help(const Criterion& criterion) {
  std::string text = "of a channel it looks at " + scored_help(criterion.scored);
  if (const std::string& what = kind_of(criterion.needs).looks_at; !what.empty()) text += " and " + what;
  if (criterion.scored != Scored::none) text += "; reduction " + PruneConfig{}.reduction;
  return text + "; normalizer " + normalizer_names()[static_cast<size_t>(criterion.normalizer)];
}

/// The units that it is for, where that is not all.
std::string units_help(const Criterion& criterion) {
  std::vector<std::string> units;
  for (size_t kind = 0; kind <= Unit::channel; ++kind)
    if (why_not(criterion, static_cast<Unit::Kind>(kind)).empty()) units.push_back(unit_names()[kind]);
  return units.size() > Unit::channel ? "" : fmt::format("for unit {}\n", fmt::join(units, ", "));
}

Definition criterion_entry(const Criterion& criterion) {
  std::string text = criterion.help + "\n" + units_help(criterion) + needs_help(criterion) + "\n";
  if (criterion.batches > 0)
    text += fmt::format("needs {} training {}, unless \"batches\" says another number\n", criterion.batches,
                        kind_of(criterion.needs).single_images ? "images" : "batches");
  return {criterion.name, text + criterion.paper};
}

std::string criteria_help() {
  std::vector<Definition> entries;
  for (const Criterion& criterion : criteria()) entries.push_back(criterion_entry(criterion));
  return prose(
             "A config names a criterion as \"prune\": {\"criterion\": NAME, ...}. \"reduction\" makes one "
             "score "
             "of those of all that goes with a coupled channel; \"normalizer\" is what the scores of a group "
             "of channels, or of a layer's filters, are divided by before groups or layers are ranked "
             "together. Shown are those used unless a config names others.\n\n") +
         list(entries, 0);
}

/// Name, help and, where it has one, paper of a row of a registry.
template <class Row>
Definition row_entry(const Row& row) {
  if constexpr (requires { row.paper; })
    if (!row.paper.empty()) return {row.name, row.help + "\n" + row.paper};
  return {row.name, row.help};
}

template <class Row>
std::string rows_help(const std::string& begin, const Registry<Row>& rows) {
  std::vector<Definition> entries;
  for (const Row& row : rows) entries.push_back(row_entry(row));
  return prose(begin + "\n\n") + list(entries);
}

std::string init_help() {
  return rows_help(
             "A config names the rule that initialises convolutions and linear layers as \"model\": "
             "{\"init\": NAME, ...}.",
             init_rules()) +
         prose(
             "\nfan_in: inputs of one output; fan_out: output channels times kernel size, as PyTorch counts, "
             "groups or not. Norms' scales begin at 1, shifts at 0; embeddings are uniform with a deviation "
             "of 0.02 by each rule.\n");
}

std::string optimizers_help() {
  return rows_help(
      "A config names an optimizer as \"optimizer\": {\"type\": NAME, \"lr\": RATE, ...}. Options of each: "
      "`espalier help "
      "NAME`.",
      optimizers());
}

std::string schedules_help() {
  return rows_help(
             "A config names a learning-rate schedule as \"schedule\": {\"type\": NAME, ...} of a train "
             "stage.",
             learning_rate_schedules()) +
         "\n" +
         rows_help(
             "And how sparsity grows while it trains as \"schedule\": {\"type\": NAME, ...} of its "
             "\"prune\".",
             prune_schedules()) +
         prose(
             "\ns_0 is what is pruned at begin, s_f the prune's sparsity, and p goes from 0 to 1 between "
             "begin and end.\n");
}

std::string penalties_help() {
  return rows_help("A config names a penalty as \"regularize\": {\"type\": NAME, ...} of a train stage.",
                   penalties());
}

std::string regrowths_help() {
  return rows_help(
      "A config names how masks move while a stage trains as \"regrow\": {\"type\": NAME, ...} of a train "
      "stage. The masks are those of a prune stage before it, or of \"prune\" beside it.",
      regrowths());
}

std::string losses_help() {
  return rows_help("A config names a loss as \"loss\": NAME or {\"type\": NAME, ...} of a train stage.",
                   losses());
}

/// With what it is made of.
Definition method_entry(const MethodInfo& method) {
  return {method.name, method.help + "\n" + pieces(method) + "\n" + method.paper};
}

std::string methods_help() {
  std::vector<Definition> entries;
  for (const MethodInfo& method : methods()) entries.push_back(method_entry(method));
  return prose(
             "Published methods, each with the pieces of a config that it is made of and its paper. "
             "`espalier "
             "help methods NAME` prints one as a complete config: `espalier help methods lamp > lamp.json`, "
             "then `espalier train lamp.json`. Pieces go together otherwise, too: `espalier help criteria`, "
             "`schedules`, `penalties`.\n\n") +
         list(entries, 0);
}

/// A config to be written to a file, which says in comments what it is.
std::string method_text(const std::string& name) {
  const MethodInfo* method = methods().find(name);
  if (!method) {
    const std::string nearest = did_you_mean(name, methods().names());
    fail_usage("help: methods: no method '", printable(name), "'",
               nearest.empty() ? "; `espalier help methods` lists them" : nearest);
  }
  const std::string comment = "// ";
  const auto [title, text] = method_entry(*method);
  const std::string said = wrapped(title + ": " + text, help_width() - comment.size());
  std::string comments;
  for (const std::string_view line : lines_of(said)) comments += comment + std::string(line) + "\n";
  return comments + laid_out(method_config(*method), help_width()) + "\n";
}

const char* const set_help =
    "A config is a JSON file, which may have comments (// and /* */) and a comma after the last of a list "
    "or object. `--set PATH=VALUE` sets one of its fields from the command line, a stage by its number (from "
    "0) or name: --set stages.dense.train.epochs=1; /stages/0/train/epochs=1 is the same. null takes away a "
    "field or a list's element: --set stages.dense=null; + adds one after a list's last: --set "
    "stages.+='{\"name\": \"more\", \"evaluate\": {}}'. Of fields that exclude each other a new one "
    "replaces the old, and another type leaves out what it has no use for.\n\n";

std::string config_overview() {
  const schema::Description& config = config_description();
  const std::vector<schema::Section> all = schema::sections(config);
  std::vector<Definition> inner;
  for (const schema::Section& section : all)
    if (!section.path.empty() && section.same_as.empty()) inner.push_back({section.path, section.help});
  return prose(set_help) + schema::section_text(all.front(), help_width()) +
         prose("\nSections (N counts a list's elements):\n") + list(inner) + "\n" +
         definition_list({{"espalier help config.model", "one section; also: espalier help optimizer"},
                          {"espalier help sparsity", "one field, wherever it stands; or a value: adamw"},
                          {"espalier help config --all", "every field"}},
                         help_width(), 0);
}

std::string whole_config() {
  std::string text = prose(set_help);
  for (const schema::Section& section : schema::sections(config_description()))
    text += (section.path.empty() ? "" : "\n") + schema::section_text(section, help_width());
  return text;
}

std::string recipes_help() {
  std::vector<Definition> entries;
  for (const Recipe& recipe : recipes()) entries.push_back({recipe.name, summary(recipe)});
  if (entries.empty()) return prose("There are no published configs in " + recipes_folder().string() + ".\n");
  return prose("Published configs. `espalier train NAME` and other commands find them by these names.\n\n") +
         list(entries);
}

std::string runs_help() {
  return prose("What a run leaves in its folder, runs/NAME or --output DIR:\n\n") +
         list({{"config.json", "the config with every field's value"},
               {"models/STAGE.safetensors",
                "weights after the stage's last step, from which the next stage goes on: for eval, predict, "
                "inspect, graph, and PyTorch"},
               {"models/STAGE.best.safetensors",
                "of a stage that trains where there are images to validate by: weights of the epoch that did "
                "best on those, the first of equals; 'STAGE, best' in the table is what they do on the test "
                "set. No stage goes on from them: a config with \"model\": {\"weights\": FILE} does"},
               {"checkpoint.safetensors",
                "all that `espalier train --resume FOLDER` needs to come to the same bits"},
               {"last_step.safetensors",
                "the checkpoint after the last training's last step, and last_step.best.safetensors the best "
                "until then, to make that training longer"},
               {"metrics.jsonl", "a row for every log_every steps, evaluation and act of a pruner"},
               {"result.json", "what each stage came to, when the run is done; `espalier compare` reads it"},
               {"kernels.json", "what --autotune chose"},
               {"log.txt", "what was said, with the time"}});
}

std::string environment_help() { return list(environment_variables()); }

std::string schema() { return config_schema().dump(2) + "\n"; }

struct Topic {
  std::string name, help;
  std::string (*text)();
};
const std::vector<Topic>& topics() {
  static const std::vector<Topic> all{
      {"config", "What a config holds; config.SECTION: its fields; config --all: every field",
       config_overview},
      {"models", "The models a config may name", models_help},
      {"init", "Rules of initialisation for a network's weights", init_help},
      {"layers", "The layers of a network that a config writes down", layers_help},
      {"ops", "What a network in a file is made of", ops_help},
      {"data", "Data sets, their files, and where they are looked for", data_help},
      {"optimizers", "What makes a step of a gradient", optimizers_help},
      {"losses", "What training makes small", losses_help},
      {"schedules", "How rates and sparsities change while training", schedules_help},
      {"penalties", "What prepares a network to be pruned", penalties_help},
      {"regrowths", "How masks move while training", regrowths_help},
      {"criteria", "What pruning can rank weights by", criteria_help},
      {"methods", "Published methods, and the pieces of each; methods NAME: a config of one", methods_help},
      {"recipes", "Published configs that go by their names", recipes_help},
      {"runs", "What a run leaves in its folder, the best epoch's weights among it", runs_help},
      {"environment", "Environment variables", environment_help},
      {"schema", "The config as JSON Schema, for editors", schema},
      {"man", "The manual page, for man -l", man_page},
  };
  return all;
}

/// Sections, fields and values of a config that go by this name.
std::string declared_in_config(const std::string& word) {
  std::string text;
  for (const schema::Section& section : schema::sections_named(word, config_description()))
    text += (text.empty() ? "" : "\n") + schema::section_text(section, help_width());
  const std::string rest = schema::help_on(word, config_description(), help_width());
  return text + (text.empty() || rest.empty() ? "" : "\n") + rest;
}

/// All that is declared about a word: a topic, criteria, models, what it is in a config, options.
std::string declared_about(const std::string& word) {
  std::vector<std::string> parts;
  for (const Topic& topic : topics())
    if (topic.name == word) parts.push_back(topic.text());
  for (const Criterion& criterion : criteria())
    if (criterion.name == word) parts.push_back("A criterion:\n" + list({criterion_entry(criterion)}));
  if (const ModelInfo* model = models().find(word))
    parts.push_back("A model:\n" + list({model_entry(*model)}));
  const auto add_row = [&](const char* what, const auto& rows) {
    if (const auto* row = rows.find(word))
      parts.push_back(std::string(what) + ":\n" + list({row_entry(*row)}));
  };
  add_row("A data set", datasets());
  add_row("An optimizer", optimizers());
  add_row("A loss", losses());
  add_row("A learning-rate schedule", learning_rate_schedules());
  add_row("A schedule of sparsity", prune_schedules());
  add_row("A scope", scopes());
  add_row("A penalty", penalties());
  add_row("A rule of initialisation", init_rules());
  add_row("A regrowth", regrowths());
  add_row("A callback", callbacks());
  if (const MethodInfo* method = methods().find(word))
    parts.push_back("A method:\n" + list({method_entry(*method)}) +
                    prose("As a config: `espalier help methods " + word + "`\n"));
  if (std::string text = declared_in_config(word); !text.empty()) parts.push_back(std::move(text));
  std::vector<Definition> options;
  for (const Command& command : commands())
    for (const Argument& argument : arguments_of(command))
      if (argument.name == "--" + word)
        options.push_back({"espalier " + command.name + " " + spelled(argument), argument.help});
  if (!options.empty()) parts.push_back(list(options, 0));
  return fmt::format("{}", fmt::join(parts, "\n"));
}

/// What others call it, and what it is called here.
struct Synonym {
  const char* word;
  std::vector<std::string> here;
};
const std::vector<Synonym>& synonyms() {
  static const std::vector<Synonym> all{
      {"magnitude", {"l1", "l2"}},
      {"clip", {"clip_norm"}},
      {"grad_clip", {"clip_norm"}},
      {"gradient_clipping", {"clip_norm"}},
      {"max_norm", {"clip_norm"}},
      {"learning_rate", {"lr"}},
      {"rate", {"lr"}},
      {"scheduler", {"schedule"}},
      {"wd", {"weight_decay"}},
      {"no_decay", {"decay"}},
      {"param_groups", {"lr_of", "decay"}},
      {"parameter_groups", {"lr_of", "decay"}},
      {"batch_size", {"batch"}},
      {"batchsize", {"batch"}},
      {"epoch", {"epochs"}},
      {"smoothing", {"label_smoothing"}},
      {"swa", {"ema"}},
      {"moving_average", {"ema"}},
      {"flops", {"macs"}},
      {"latency", {"latency_ms"}},
      {"filters", {"unit"}},
      {"neuron", {"unit"}},
      {"structured", {"channel"}},
      {"unstructured", {"weight"}},
      {"amount", {"sparsity", "ratio"}},
      {"pruning_ratio", {"sparsity", "ratio"}},
      {"slimming", {"network_slimming", "bn_scale"}},
      {"agp", {"gradual_magnitude"}},
      {"gmp", {"gradual_magnitude"}},
      {"dsd", {"dense_sparse_dense"}},
      {"lottery", {"lottery_ticket"}},
      {"ac/dc", {"acdc"}},
      {"snfs", {"sparse_momentum"}},
      {"ste", {"straight_through"}},
      {"kd", {"distillation"}},
      {"hessian", {"obd"}},
      {"finetune", {"stages.train"}},
      {"fine-tuning", {"stages.train"}},
      {"initialization", {"init"}},
      {"initialisation", {"init"}},
      {"he", {"kaiming_normal", "kaiming_uniform"}},
      {"glorot", {"xavier_uniform"}},
      {"pretrained", {"weights"}},
      {"best", {"runs"}},
      {"artifacts", {"runs"}},
  };
  return all;
}

/// For a word that is unknown here: what it is called instead, else the fields whose help mentions it.
std::string otherwise(const std::string& word) {
  std::string lower = word;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto same = std::ranges::find(synonyms(), lower, &Synonym::word);
  if (same == synonyms().end()) return "";
  std::string text = prose(fmt::format("{}: here that is {}\n", word, fmt::join(same->here, " or ")));
  for (const std::string& name : same->here) text += "\n" + declared_about(name);
  return text;
}

/// "; the help on a, b mentions it": fields whose descriptions have the word.
std::string spoken_of(const std::string& word) {
  constexpr size_t min_letters = 4, max_fields = 5;
  if (word.size() < min_letters) return "";
  std::vector<std::string> names;
  for (const schema::Section& section : schema::sections(config_description()))
    for (const schema::FieldDescription& field : section.object->fields)
      if (field.help.find(word) != field.help.npos && names.size() < max_fields &&
          std::ranges::find(names, field.name) == names.end())
        names.push_back(field.name);
  if (names.empty()) return "";
  return fmt::format("; the help on {} mentions it", fmt::join(names, ", "));
}

}  // namespace

std::vector<std::string> help_words() {
  std::vector<std::string> words = commands().names();
  for (const Topic& topic : topics()) words.push_back(topic.name);
  for (const std::string& word : schema::words(config_description())) words.push_back(word);
  for (const std::string& method : methods().names())
    if (std::ranges::find(words, method) == words.end()) words.push_back(method);  // some are criteria, too
  return words;
}

std::string overview() {
  std::vector<Definition> all, more;
  for (const Command& command : commands()) all.push_back({command.name, command.help});
  for (const Topic& topic : topics()) more.push_back({topic.name, topic.help});
  return prose(
             "Espalier trains neural networks and prunes them.\n\nUsage: espalier COMMAND "
             "...\n\nCommands:\n") +
         list(all) +
         prose(
             "\nMore: espalier help COMMAND, espalier help NAME (of a field, criterion, model), or one "
             "of\n") +
         list(more) + prose("\nA first run: espalier train quickstart\n\nExit codes:\n") + list(exit_codes());
}

void help(const Given& given) {
  std::string about, method;
  bool all = false;
  Arguments arguments("help");
  arguments
      .optional_positional("TOPIC", about,
                           "A command, a topic, or a name in configs; `espalier help` lists them")
      .optional_positional("METHOD", method, "With methods: the one to print as a config")
      .flag("--all", all, "With config: every field of every section");
  if (!arguments.parse(given)) return;
  if (!method.empty() && about != "methods")
    fail_usage("help: one argument too many: '", printable(method), "'; see `espalier help --help`");
  if (!method.empty()) return print(method_text(method));
  if (all && about != "config") fail_usage("help: --all: is for `espalier help config --all`");
  if (all) return print(whole_config());
  if (about.empty()) return print(overview());
  for (const Topic& topic : topics())
    if (topic.name == about) return print(topic.text());

  constexpr std::string_view config = "config";
  const bool in_config = about.starts_with("config.") || about.starts_with("config/");
  const std::string word = in_config ? about.substr(config.size() + 1) : about;
  for (const Command& command : commands()) {
    if (command.name != about) continue;
    print(usage(command, arguments_of(command), help_width()));
    if (command.more) print("\n" + command.more());
    if (!declared_in_config(word).empty())
      print(prose("\nIn a config: `espalier help config." + about + "`\n"));
    return;
  }
  const std::string text = in_config ? declared_in_config(word) : declared_about(word);
  if (!text.empty()) return print(text);
  if (const std::string other = in_config ? "" : otherwise(word); !other.empty()) return print(other);
  const std::string last_part = word.substr(word.find_last_of("./") + 1);  // of a path
  const std::string nearest = did_you_mean(last_part, help_words());
  fail_usage("help: nothing is called '", printable(word), "'",
             nearest.empty() ? spoken_of(word) + "; `espalier help` lists what there is" : nearest);
}

}  // namespace espalier::cli

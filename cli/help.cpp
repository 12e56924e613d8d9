// espalier help
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "espalier/cli/arguments.h"
#include "espalier/core/error.h"
#include "espalier/core/spelling.h"
#include "espalier/core/utf8.h"
#include "espalier/nn/models/models.h"
#include "espalier/prune/criterion.h"
#include "espalier/train/config.h"
#include "espalier/train/recipes.h"

namespace espalier::cli {
namespace {

/// `name` and then `text`, broken into lines of at most 80 columns, all but the first of them indented.
std::string entry(std::string_view name, std::string_view text) {
  constexpr size_t indent = 11, width = 80 - indent;
  std::string lines = fmt::format("{:<{}}", name, indent);
  while (text.size() > width) {
    const size_t end = text.rfind(' ', width);
    if (end == text.npos) break;
    lines += fmt::format("{}\n{:<{}}", text.substr(0, end), "", indent);
    text.remove_prefix(end + 1);
  }
  return lines + std::string(text) + "\n";
}

std::string models_help() {
  std::string text =
      "A config names a model as \"model\": {\"type\": NAME, ...}. Input and classes are these unless told "
      "otherwise.\n\n";
  for (const ModelInfo& info : model_catalogue())
    text += entry(info.name, fmt::format("{}; input {}, {} classes", info.help,
                                         fmt::join(info.input.sizes(), "x"), info.classes));
  return text + "\nOptions of each: `espalier help config`. Layers and sizes: `espalier inspect CONFIG`.\n";
}

std::string data_help() {
  return "A config names a data set as \"data\": {\"type\": NAME, ...}.\n"
         "\n"
         "mnist      70,000 handwritten digits, 28x28x1, 10 classes. Folder `mnist` with these files, each\n"
         "           plain, .gz or .xz:\n"
         "             train-images-idx3-ubyte  train-labels-idx1-ubyte\n"
         "             t10k-images-idx3-ubyte   t10k-labels-idx1-ubyte\n"
         "           Any data set in such files will do (Fashion-MNIST, KMNIST): \"path\" names its folder.\n"
         "cifar10    60,000 photographs, 32x32x3, 10 classes. Folder `cifar-10-batches-bin` with\n"
         "           data_batch_1.bin .. data_batch_5.bin and test_batch.bin, each plain, .gz or .xz.\n"
         "cifar100   The same in 100 classes, or in 20 by \"labels\": \"coarse\". Folder `cifar-100-binary` "
         "with\n"
         "           train.bin and test.bin. Files of either set may hold a part of the images;\n"
         "           \"remap\": true numbers the classes that are left 0..k-1.\n"
         "image_folder\n"
         "           Your own: train/CLASS/*.jpg, .jpeg, .png, .webp or .bmp, and test/ alike, in the "
         "folder\n"
         "           that \"path\" names. val/ stands for test/, or beside it is the validation split, "
         "unless\n"
         "           \"validation\" holds out images of train/. Images are turned as their EXIF orientation\n"
         "           says, become grey or RGB as the model's input is, are scaled to its size, their aspect\n"
         "           kept, and cut to their middle. Transparency is dropped; \"alpha\": \"white\" blends it "
         "over\n"
         "           white. `espalier eval CHECKPOINT --images FOLDER` reads FOLDER/CLASS/*.jpg, test set or "
         "not.\n"
         "           What is decoded is kept for the next start, in $XDG_CACHE_HOME/espalier or "
         "~/.cache/espalier; \"cache\": false keeps "
         "none.\n"
         "           \"skip_corrupt\": true leaves out images that cannot be decoded, and names them.\n"
         "           A published set in this form: Imagenette, ten classes of ImageNet (340 MB),\n"
         "           https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz, unpacked or as it is;\n"
         "           ImageNet itself is at https://image-net.org, for those who register there.\n"
         "synthetic  10,000 numbers drawn by the program, of the model's classes and in its shape; needs no "
         "files.\n"
         "\n"
         "The root is the folder that data sets are in: --data ROOT, else \"data\".\"root\" in the config,\n"
         "else the environment variable ESPALIER_DATA, else data. \"data\".\"path\" names a set's own "
         "folder,\n"
         "relative to the root; or, but for mnist, an archive of it: .tar, .tar.gz or .tar.xz.\n"
         "\n"
         "To get them: scripts/get-data mnist (11 MB, into data), cifar10 or cifar100 (170 MB each).\n";
}

/// Of a coupled channel.
std::string voices_help(Voices voices) {
  switch (voices) {
    case Voices::all:
      return "the weights that make and read it and its norms' scales";
    case Voices::makers:
      return "the weights that make it";
    case Voices::scales:
      return "its norms' scales";
    case Voices::nothing:
      break;
  }
  return "nothing";
}

/// What of these a criterion sees, and what becomes of a channel's scores.
std::string looks_help(const Criterion& criterion) {
  std::string text = "of a channel it looks at " + voices_help(criterion.voices);
  if (criterion.looks == Looks::at_gradients) text += " and at dL/dw";
  if (criterion.looks == Looks::at_curvature) text += " and at the squares of single images' dL/dw";
  if (criterion.voices != Voices::nothing) text += "; reduction " + PruneConfig{}.reduction;
  return text + "; normalizer " + normalizer_names()[static_cast<size_t>(criterion.normalizer)];
}

std::string criteria_help() {
  std::string text =
      "A config names a criterion as \"prune\": {\"criterion\": NAME, ...}. Of a coupled channel, the scores "
      "of\n"
      "all that goes with it become one by \"reduction\"; and those of a group of channels, as those of a\n"
      "layer's rows, are divided by \"normalizer\" before groups or layers are ranked together. Unless a\n"
      "config says another, they are these.\n\n";
  for (const Criterion& criterion : criteria()) {
    text += entry(criterion.name, criterion.help);
    text += entry("", looks_help(criterion));
    if (criterion.batches > 0)
      text += entry(
          "", fmt::format("needs {} training {}, unless \"batches\" says another number", criterion.batches,
                          criterion.looks == Looks::at_curvature ? "images" : "batches"));
    text += entry("", criterion.paper);
  }
  return text;
}

std::string recipes_help() {
  std::string text =
      "Published configs. `espalier train NAME` and other commands find them by these names.\n\n";
  for (const Recipe& recipe : recipes()) text += recipe.name + "\n" + entry("", summary(recipe));
  return text;
}

std::string schema() { return config_schema().dump(2) + "\n"; }

struct Topic {
  std::string name, help;
  std::string (*text)();
};
const std::vector<Topic>& topics() {
  static const std::vector<Topic> all{
      {"config", "Every field of a config: type, range, default", config_help},
      {"models", "The models a config may name", models_help},
      {"data", "Data sets, their files, and where they are looked for", data_help},
      {"criteria", "What pruning can rank weights by", criteria_help},
      {"recipes", "Published configs that go by their names", recipes_help},
      {"schema", "The config as JSON Schema, for editors", schema},
  };
  return all;
}

}  // namespace

std::string overview() {
  std::string text =
      "Espalier trains neural networks and prunes them.\n"
      "\n"
      "Usage: espalier COMMAND ...\n"
      "\n"
      "Commands:\n";
  for (const Command& command : commands()) text += fmt::format("  {:<10}{}\n", command.name, command.help);
  text += "\nMore: espalier help COMMAND, or one of\n";
  for (const Topic& topic : topics()) text += fmt::format("  {:<10}{}\n", topic.name, topic.help);
  return text +
         "\nA first run: espalier train quickstart\n"
         "Exit codes: 0 done, 1 the run failed, 2 wrong usage or input, 129, 130 or 143 interrupted\n";
}

void help(const Given& given) {
  std::string about;
  Arguments arguments("help");
  arguments.optional_positional("TOPIC", about,
                                "A command, or config, models, data, criteria, recipes, schema");
  if (!arguments.parse(given)) return;
  if (about.empty()) return print(overview());
  std::vector<std::string> names;
  for (const Topic& topic : topics()) {
    if (topic.name == about) return print(topic.text());
    names.push_back(topic.name);
  }
  for (const Command& command : commands()) {
    if (command.name == about) return command.run({"--help"});
    names.push_back(command.name);
  }
  const std::string nearest = did_you_mean(about, names);
  fail_usage("help: no topic '", printable(about), "'",
             nearest.empty() ? "; `espalier help` lists them" : nearest);
}

}  // namespace espalier::cli

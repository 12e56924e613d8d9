// espalier train
#include <filesystem>

#include "espalier/cli/arguments.h"
#include "espalier/cli/open_model.h"
#include "espalier/run/run.h"
#include "espalier/run/run_folder.h"
#include "espalier/util/error.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/shell_word.h"
#include "espalier/util/spelling.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

namespace fs = std::filesystem;

/// UsageError for a file that lies in a run's folder, or in models/ there, which is what --resume takes.
void name_folder_of(const fs::path& file) {
  fs::path folder = file.parent_path();
  if (folder.filename() == "models") folder = folder.parent_path();
  if (folder.empty()) folder = ".";
  if (RunFolder(folder).holds_run())
    fail_usage(printable(file.string()),
               ": is a file of a run; its folder is what goes on: `espalier train --resume ",
               printable(shell_word(folder.string())), "`");
  fail_usage(printable(file.string()), ": is no config, nor the folder of a run");
}

/// --resume FOLDER, or its config.json: the run there goes on by its own config. Anything else is left alone.
void take_run(std::string& config, RunOptions& options) {
  fs::path place = fs::path(config).lexically_normal();
  if (!place.has_filename() && place.has_parent_path()) place = place.parent_path();  // runs/x/
  std::error_code none;
  if (!fs::is_directory(place, none)) {
    if (!options.resume) return;
    if (place.extension() == ".safetensors") name_folder_of(place);
    const bool own = place.filename() == "config.json" && RunFolder(place.parent_path()).has_checkpoint();
    if (!own || options.output) return;
    place = place.has_parent_path() ? place.parent_path() : ".";
  }
  const RunFolder run(place);
  const std::string name = place.string();
  if (!options.resume) {
    if (!run.holds_run()) return;
    fail_usage(printable(name), ": is the folder of a run; `espalier train --resume ",
               printable(shell_word(name)), "` goes on with it");
  }
  if (!run.holds_run()) fail_usage(printable(name), ": holds no run to go on with");
  if (options.output && !fs::equivalent(*options.output, place, none))
    fail_usage("train: --output: found '", printable(*options.output), "', but the run goes on in ",
               printable(name), "; without --resume a config begins anew elsewhere");
  if (!fs::exists(run.config(), none))
    fail_usage(printable(name), ": has no config.json; espalier train CONFIG --resume --output ",
               printable(shell_word(name)), " goes on with the config that it was begun with");
  options.output = name;
  config = run.config().string();
}

/// What a command that goes on with the run must say again for it to come to the same.
std::string options_again(const Given& given, const RunOptions& options) {
  std::string again;
  if (options.data) again += " --data " + shell_word(*options.data);
  for (size_t i = 0; i < given.size(); ++i) {
    for (const std::string name : {"--device", "--threads"}) {
      if (given[i].starts_with(name + "=")) again += " " + shell_word(given[i]);
      if (given[i] == name) again += " " + name + " " + shell_word(given[i + 1]);
    }
  }
  if (options.autotune) again += " --autotune";
  return again;
}

}  // namespace

void train(const Given& given) {
  std::string config;
  std::vector<std::string> overrides;
  std::optional<std::string> precision;
  RunOptions options;
  bool quiet = false;
  Arguments arguments("train");
  arguments.positional("CONFIG", config, "A config (`espalier help config`), a recipe, or a run to --resume")
      .overrides(overrides)
      .path("--output", "DIR", options.output,
            "Folder to write (default: runs/NAME, or the next free runs/NAME-2, ...)")
      .data_root(options.data)
      .flag("--resume", options.resume,
            "Go on from the folder's checkpoint, to the same bits; with --set of more epochs, on to those")
      .device()
      .precision(precision)
      .threads()
      .flag("--autotune", options.autotune, "Time kernels of small linear layers; choices stay in the folder")
      .flag("--quiet", quiet, "Nothing but warnings and errors, which go to standard error");
  if (!arguments.parse(given)) return;

  take_run(config, options);
  options.again = options_again(given, options);
  Config loaded = load_config(
      config_named(config, quiet), overrides,
      [&](const std::string& name, const std::string& weights) { return begun_run(options, name, weights); });
  if (precision) loaded.precision = precision;
  catch_interrupts();
  Console console(quiet);
  run(loaded, options, console);
}

}  // namespace espalier::cli

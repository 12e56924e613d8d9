// espalier train
#include "espalier/cli/arguments.h"
#include "espalier/cli/open_model.h"
#include "espalier/core/error.h"
#include "espalier/core/interrupt.h"
#include "espalier/core/spelling.h"
#include "espalier/core/utf8.h"
#include "espalier/train/run.h"

namespace espalier::cli {

void train(const Given& given) {
  std::string config;
  std::vector<std::string> overrides;
  std::optional<std::string> device;
  RunOptions options;
  bool quiet = false;
  Arguments arguments("train");
  arguments
      .positional("CONFIG", config, "What to do: a JSON file (`espalier help config`) or a recipe's name")
      .overrides(overrides)
      .path("--output", "DIR", options.output, "Folder to write (default: runs/NAME)")
      .data_root(options.data)
      .flag("--resume", options.resume, "Go on from the folder's checkpoint, to the same bits")
      .text("--device", "cpu|cuda", device, "What to compute on (default: cpu)")
      .threads()
      .flag("--autotune", options.autotune, "Time kernels of small linear layers; choices stay in the folder")
      .flag("--quiet", quiet, "Nothing but errors on the terminal");
  if (!arguments.parse(given)) return;
  if (device == "cuda") fail_usage("train: --device cuda: this build computes on the CPU alone");
  if (device && device != "cpu")
    fail_usage("train: --device: found '", printable(*device), "', expected cpu or cuda",
               did_you_mean(*device, {"cpu", "cuda"}));

  const Config loaded = load_config(config_named(config, quiet), overrides,
                                    [&](const std::string& name, const std::string& weights) {
                                      return network_of_run(options, name, weights);
                                    });
  catch_interrupts();
  Console console(quiet);
  run(loaded, options, console);
}

}  // namespace espalier::cli

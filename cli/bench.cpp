// espalier bench
#include "espalier/profile/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "espalier/cli/arguments.h"
#include "espalier/cli/numbers.h"
#include "espalier/cli/open_model.h"
#include "espalier/core/compute_device.h"
#include "espalier/core/starvation.h"
#include "espalier/profile/floor.h"
#include "espalier/profile/profile.h"
#include "espalier/run/checkpoint.h"
#include "espalier/util/error.h"
#include "espalier/util/input_file.h"
#include "espalier/util/spelling.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

/// The catalogue's defaults for the model of that name.
ModelOptions model_options(const std::string& name) {
  const ModelInfo* info = models().find(name);
  if (info && info->input.axes() == 0)
    fail_usage("bench: --model: '", name, "' is what a config or a file describes, and bench is given none");
  if (info) {
    ModelOptions options;
    options.type = name;
    options.input = info->input;
    options.classes = info->classes;
    return options;
  }
  const std::string nearest = did_you_mean(name, models().names());
  fail_usage("bench: --model: no model '", printable(name), "'",
             nearest.empty() ? "; `espalier help models` lists them" : nearest);
}

std::string text_of(const BenchResult& r) {
  const double images = 1e3 * static_cast<double>(r.batch);
  return fmt::format(
      "{} {}  batch {}  {} {}  {}\n"
      "  {} images/s (best {})\n"
      "  {:.4g} ms a batch (best {:.4g})\n"
      "  {} MACs an image forward\n"
      "  {} peak memory\n",
      r.model, r.mode, r.batch, r.threads, plural(r.threads, "thread"), r.card.empty() ? r.isa : r.card,
      grouped(static_cast<int64_t>(images / r.median_ms())),
      grouped(static_cast<int64_t>(images / r.best_ms())), r.median_ms(), r.best_ms(), grouped(r.macs),
      bytes_text(r.peak_memory_bytes));
}

/// The floor of a step in all precisions, or in the one that is asked for.
void print_plan(Module& model, const BenchOptions& options, const std::optional<std::string>& asked,
                bool json) {
  const std::vector<std::string> known{"f32", "tf32", "bf16"};
  if (asked && std::ranges::find(known, *asked) == known.end())
    fail_usage("bench: --precision: found '", printable(*asked), "', expected f32, tf32 or bf16",
               did_you_mean(*asked, known));
  std::vector<StepFloor> floors;
  for (const std::string& precision : asked ? std::vector{*asked} : known)
    floors.push_back(step_floor(model, options, precision));
  if (json) {
    auto all = nlohmann::ordered_json::array();
    for (const StepFloor& floor : floors) all.push_back(to_json(floor));
    return print_json({{"model", options.model.type},
                       {"mode", "plan"},
                       {"batch", options.batch},
                       {"card", h100().name},
                       {"floors", all}});
  }
  print(fmt::format("{}  batch {}  the least that a step can take on an {}\n\n", options.model.type,
                    options.batch, h100().name) +
        floor_table(floors, terminal_width()));
}

}  // namespace

void bench(const Given& given) {
  std::string mode;
  std::optional<std::string> model, checkpoint, input, precision;
  int64_t batch = 64, classes = 0;
  double seconds = 5;
  bool json = false, verbose = false, planned = false;
  Arguments arguments("bench");
  arguments.positional("train|infer", mode, "The trainer's own step, or inference")
      .text("--model", "NAME", model, "See `espalier help models`")
      .path("--checkpoint", "FILE", checkpoint,
            "A run's checkpoint or model (pruned or not), or with --model weights")
      .whole("--batch", batch, 1, 1'000'000, "Images in a batch (default: 64)")
      .text("--input", "HEIGHTxWIDTHxCHANNELS", input, "Shape of an image (default: the model's)")
      .whole("--classes", classes, 1, 1'000'000, "Classes (default: the model's)")
      .seconds("--seconds", seconds, "How long to measure (default: 5)")
      .device(&planned)
      .precision(precision)
      .threads()
      .flag("--json", json, "Print only JSON")
      .flag("--verbose", verbose, "Time each layer's kernels by themselves, too")
      .flag("--plan", planned,
            "With --device cuda: the least time that a step can take on an H100; needs no card");
  if (!arguments.parse(given)) return;
  if (mode != "train" && mode != "infer")
    fail_usage("bench: found '", printable(mode), "', expected train or infer",
               did_you_mean(mode, {"train", "infer"}));
  if (!model && !checkpoint) fail_usage("bench: needs --model NAME or --checkpoint FILE");
  if (!model && (input || classes))
    fail_usage("bench: ", input ? "--input" : "--classes", ": the checkpoint has its own");

  if (planned && mode != "train") fail_usage("bench: --plan: is of a step of train");
  if (planned && verbose) fail_usage("bench: --verbose: times kernels, and --plan runs none");

  std::optional<MetaDevice> shapes_alone;
  if (planned) shapes_alone.emplace();
  BenchOptions options{.model = {}, .batch = batch, .seconds = seconds};
  std::unique_ptr<Module> made;
  if (model) {
    options.model = model_options(*model);
    if (input) options.model.input = image_shape("bench: --input", *input);
    if (classes) options.model.classes = classes;
    made = to_compute_device(make_model(options.model, 0));
    if (checkpoint) require_file(*checkpoint);
    if (checkpoint) load_checkpoint(*checkpoint, *made);
  } else {
    OpenedCheckpoint opened = open_named_checkpoint(*checkpoint);
    if (!precision) compute_as_trained(opened.info.config);
    made = std::move(opened.model);
    options.model = opened.info.config.model;
  }
  if (planned) return print_plan(*made, options, precision, json);
  if (verbose && activation_dtype(compute_device()) != DType::f32)
    fail_usage("bench: --verbose: times kernels in f32 and tf32, found ", precision_name());
  const BenchResult result = (mode == "train" ? bench_train : bench_infer)(options, *made);
  if (!json) print(text_of(result));
  if (const std::string warning = new_starvation_warning(); !warning.empty()) warn(warning);
  auto shown = to_json(result);
  if (verbose) {
    const Profile kernels = profile(*made, options.model.input, batch, mode == "train");
    shown["profile"] = to_json(kernels);
    if (json)
      std::fputs(profile_table(kernels, result.median_ms()).c_str(), stderr);
    else
      print("\n" + profile_table(kernels, result.median_ms(), terminal_width()));
  }
  if (json) print_json(shown);
}

}  // namespace espalier::cli

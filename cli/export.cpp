// espalier export
#include "espalier/onnx/export.h"

#include <fmt/format.h>

#include <filesystem>

#include "espalier/cli/arguments.h"
#include "espalier/cli/numbers.h"
#include "espalier/cli/open_model.h"
#include "espalier/cli/output_file.h"
#include "espalier/optim/ema.h"
#include "espalier/prune/dead.h"
#include "espalier/prune/report.h"
#include "espalier/util/error.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

std::optional<int64_t> batch_in(const std::string& text) {
  if (text == "dynamic") return std::nullopt;
  const auto batch = number_in<int64_t>(text);
  if (!batch || *batch < 1)
    fail_usage("export: --batch: found '", printable(text), "', expected a number of images, or dynamic");
  return batch;
}

}  // namespace

void export_(const Given& given) {
  std::string file;
  std::optional<std::string> output, batch;
  OnnxExportOptions options;
  bool remove = false;
  Arguments arguments("export");
  arguments.positional("CHECKPOINT", file, "A run's checkpoint.safetensors or models/STAGE.safetensors")
      .path("--onnx", "FILE", output, "File to write, NET.onnx; required")
      .flag("--fold-batchnorm", options.fold_batchnorm,
            "A batch norm right after a convolution goes into its weights")
      .whole("--opset", options.opset, min_onnx_opset, max_onnx_opset,
             fmt::format("Version of the ops (default: {})", default_onnx_opset))
      .text("--batch", "N|dynamic", batch, "Images in a batch (default: dynamic, any number)")
      .flag("--softmax", options.softmax, "Puts out probabilities instead of logits")
      .flag("--normalize", options.normalize,
            "Takes images of 0 to 1, and normalises them as the data were; else that is left to who runs it, "
            "and the "
            "file's metadata say how")
      .flag("--remove-dead", remove, "Takes channels out that masks have killed, and says how many");
  if (!arguments.parse(given)) return;
  if (!output) fail_usage("export: expected --onnx FILE, where the network is to be written");
  if (batch) options.batch = batch_in(*batch);
  check_output("export: --onnx", *output, {file});

  const auto [model, saved] = open_named_checkpoint(file);
  const AverageInPlace average(model->parameters());
  if (remove) print("dead channels: " + channel_line(remove_dead(*model, saved.config.model.input)) + "\n");
  const auto channels = static_cast<size_t>(saved.config.model.input[2]);
  OnnxData data{.classes = saved.classes,  // without any normalisation a network sees pixels of 0 to 1
                .mean = std::vector<double>(channels, 0.0),
                .std = std::vector<double>(channels, 1.0)};
  if (const auto& normalize = saved.config.data.normalize) {
    data.mean = normalize->mean;
    data.std = normalize->std;
  }
  export_onnx({*output}, *model, saved.config.model.input, data, options);
  print(fmt::format("{}: {}, opset {}\n", printable(*output),
                    bytes_text(static_cast<double>(std::filesystem::file_size(*output))), options.opset));
}

}  // namespace espalier::cli

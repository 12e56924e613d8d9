// espalier import
#include "espalier/onnx/import.h"

#include <fmt/format.h>

#include <limits>

#include "espalier/cli/arguments.h"
#include "espalier/cli/numbers.h"
#include "espalier/cli/output_file.h"
#include "espalier/nn/network.h"
#include "espalier/run/checkpoint.h"
#include "espalier/util/error.h"
#include "espalier/util/input_file.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

constexpr double max_float = std::numeric_limits<float>::max();

/// "0.485,0.456,0.406": as many numbers as channels, from `least` on, that f32 can hold.
std::vector<double> by_channel(const std::string& option, const std::string& text, int64_t channels,
                               double least) {
  std::vector<double> numbers;
  for (const std::string& part : parts_of(text, ',')) {
    const auto number = number_in<double>(part);
    if (!number || !(*number >= least && *number <= max_float))
      fail_usage("import: ", option, ": found '", printable(part), "', expected a number",
                 least > 0 ? " above 0" : "");
    numbers.push_back(*number);
  }
  if (std::ssize(numbers) != channels)
    fail_usage("import: ", option, ": found ", numbers.size(), " ", plural(std::ssize(numbers), "number"),
               ", expected ", grouped(channels), ", one for each channel");
  return numbers;
}

/// A name in each line.
std::vector<std::string> classes_in(const std::string& file) {
  require_file(file);
  std::vector<std::string> names = parts_of(read_file(file), '\n');
  if (names.back().empty()) names.pop_back();
  for (std::string& name : names)
    if (name.ends_with('\r')) name.pop_back();
  return names;
}

}  // namespace

void import_(const Given& given) {
  std::string file;
  std::optional<std::string> output, image, mean, std, classes;
  Arguments arguments("import");
  arguments.positional("NET.onnx", file, "An ONNX file; numbers that lie beside it are read from its folder")
      .path("-o,--output", "FILE", output, "File to write, NET.safetensors; required")
      .text("--input", "HEIGHTxWIDTHxCHANNELS", image,
            "Sizes of its images, where the file leaves them open: 224x224x3")
      .text("--mean", "M,M,M", mean,
            "The mean of each channel of the images of 0 to 1 that it was trained on, and")
      .text("--std", "S,S,S", std, "their deviation: what `eval` and `predict` normalise images by")
      .path("--classes", "FILE", classes, "Names of its classes, one a line, in the order of its outputs");
  if (!arguments.parse(given)) return;
  if (!output) fail_usage("import: expected -o FILE, where the network is to be written");
  if (mean.has_value() != std.has_value()) fail_usage("import: --mean and --std go together");
  check_output("import: -o", *output, {file});
  const Shape sizes = image ? image_shape("import: --input", *image) : Shape{};

  OnnxNetwork network = import_onnx(file, sizes);
  if (mean && network.normalized_images)
    fail_usage(
        "import: --mean and --std: the network normalises its images by itself, and takes pixels of 0 to 1");
  const int64_t channels = network.graph.image()[2];
  if (mean) network.mean = by_channel("--mean", *mean, channels, -max_float);
  if (std) network.std = by_channel("--std", *std, channels, std::numeric_limits<float>::min());
  if (classes) network.classes = classes_in(*classes);
  const auto model = make_module(network, file);
  save_weights({*output}, *model,
               {.image = network.graph.image(),
                .class_names = network.classes,
                .mean = network.mean,
                .std = network.std});
  const Network counted(*model, network.graph.image());
  const Shape taken = network.graph.image();
  print(fmt::format("{}: images of {}x{}x{}, {} outputs, {} layers, {} parameters, {} MACs\n",
                    printable(*output), taken[0], taken[1], taken[2], network.graph.outputs(),
                    counted.layers.size(), grouped(counted.totals.parameters), grouped(counted.totals.macs)));
  for (const std::string& line : network.notes) note("import: " + line);
  if (network.mean.empty())
    note(
        "import: the file does not say how its images are normalised; --mean and --std say it, or "
        "data.normalize of a config");
}

}  // namespace espalier::cli

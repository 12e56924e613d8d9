// espalier eval
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "espalier/cli/arguments.h"
#include "espalier/cli/open_model.h"
#include "espalier/cli/output_file.h"
#include "espalier/formats/safetensors.h"
#include "espalier/nn/state_dict.h"
#include "espalier/optim/ema.h"
#include "espalier/run/build.h"
#include "espalier/run/checkpoint.h"
#include "espalier/train/evaluate.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/table.h"

namespace espalier::cli {
namespace {

/// `confusion` has a row for each class of the data, with a number for each output of the model.
nlohmann::ordered_json to_json(const Evaluation& e, const Dataset& data) {
  auto classes = nlohmann::ordered_json::array(), confusion = nlohmann::ordered_json::array();
  for (int64_t k = 0; k < data.classes(); ++k) {
    const auto row = e.confusion.begin() + k * e.outputs;
    const int64_t images = std::accumulate(row, row + e.outputs, int64_t{0});
    nlohmann::ordered_json accuracy;  // null where there is nothing to judge by
    if (images > 0) accuracy = 100.0 * static_cast<double>(row[k]) / static_cast<double>(images);
    classes.push_back(
        {{"name", data.class_names[static_cast<size_t>(k)]}, {"images", images}, {"accuracy", accuracy}});
    confusion.push_back(std::vector<int64_t>(row, row + e.outputs));
  }
  return {{"accuracy", e.accuracy}, {"top5", e.top5},     {"loss", e.loss},        {"images", data.size()},
          {"data", data.name},      {"classes", classes}, {"confusion", confusion}};
}

/// The first batch as the network sees it, images [N,C,H,W], and what it makes of them, logits [N,classes].
/// `flip`: the mean of what it makes of each and of its mirror image, as evaluate has it.
void write_logits(const std::string& file, Module& model, Loader& loader, bool flip) {
  const NoGradient off;
  Batch batch;
  loader.start_epoch(0);
  loader.next(batch);
  model.set_training(false);
  const Tensor logits = logits_of(model, batch.images, flip).value().to(Device::cpu);
  batch.images = batch.images.to(Device::cpu);
  // [N,H,W,C] to [N,C,H,W] is what a convolution's weight goes through on its way to a file.
  const Parameter images{.name = "images", .variable = Variable(batch.images), .layout = {FileLayout::oihw}};
  write_safetensors(file, {.tensors = {{"images", to_file_layout(images, batch.images)}, {"logits", logits}},
                           .metadata = {}});
}

}  // namespace

void eval(const Given& given) {
  std::string file;
  std::vector<std::string> overrides;
  std::optional<std::string> root, images, logits, precision;
  bool json = false, flip = false;
  Arguments arguments("eval");
  arguments
      .positional("CHECKPOINT", file,
                  "A run's checkpoint.safetensors or models/STAGE.safetensors, or an ONNX file")
      .overrides(overrides)
      .data_root(root)
      .path("--images", "FOLDER", images, "Images in folders of the classes' names, instead of the test set")
      .device()
      .precision(precision)
      .threads()
      .flag("--flip", flip, "Mean logits of each image and its mirror image")
      .path("--logits", "FILE", logits, "Write the first batch's images and logits there, as safetensors")
      .flag("--json", json, "Print JSON, with each class's accuracy and the confusion table");
  if (!arguments.parse(given)) return;

  if (logits) check_output("eval: --logits", *logits, {file});
  const auto [model, saved] = open_named_checkpoint(file, overrides);
  const Config& config = saved.config;
  if (!precision) compute_as_trained(config);
  const Say say = [&](const std::string& line) {
    if (json)
      cli::note(line);  // stdout is only the object
    else
      print(line + "\n");
  };
  const Say announce = json ? Say() : say;  // a script need not be told how long it takes
  catch_interrupts();                       // nothing is left half written
  if (images && root)
    fail_usage("eval: --data and --images: the one is for the test set, the other instead of it");
  if (images)
    ESP_CHECK(!saved.classes.empty(), file, ": holds no names of classes, by which --images finds folders");
  const std::string place = images.value_or(data_place(config, root));
  if (logits) check_output("eval: --logits", *logits, {place});
  const DataSplits data =
      images ? labelled_images(config, saved.classes, *images, announce) : build_data(config, root, announce);
  Loader test = evaluation_loader(config, data.test);
  check_classes(file, saved.classes, config, data.test, place);
  const AverageInPlace average(model->parameters());
  if (logits) write_logits(*logits, *model, test, flip);
  const Evaluation e = evaluate(*model, test, {.flip = flip, .loss = *build_loss(config)});
  for (const auto* notes : {&config.notes, &data.notes})
    for (const std::string& note : *notes) say(note);
  if (json) return print_json(to_json(e, data.test));
  const std::string top5 = tells_top5(config.model.classes) ? fmt::format("top-5 {:.2f} %  ", e.top5) : "";
  print(fmt::format("accuracy {:.2f} %  {}loss {:.4f}  ({}, {} {})\n", e.accuracy, top5, e.loss,
                    data.test.name, grouped(data.test.size()), plural(data.test.size(), "image")));
}

}  // namespace espalier::cli

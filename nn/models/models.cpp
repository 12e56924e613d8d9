#include "espalier/nn/models/models.h"

#include <algorithm>
#include <cmath>

#include "espalier/core/physical_memory.h"
#include "espalier/nn/graph_module.h"
#include "espalier/nn/init.h"
#include "espalier/nn/models/densenet.h"
#include "espalier/nn/models/lenet.h"
#include "espalier/nn/models/mlp.h"
#include "espalier/nn/models/mobilenetv2.h"
#include "espalier/nn/models/mobilenetv3.h"
#include "espalier/nn/models/resnet.h"
#include "espalier/nn/models/squeezenet.h"
#include "espalier/nn/models/vgg.h"
#include "espalier/nn/models/vit.h"
#include "espalier/nn/network.h"
#include "espalier/util/spelling.h"
#include "espalier/util/table.h"

namespace espalier {
namespace {

using Options = ModelOptions;
using Made = std::unique_ptr<Module>;

Made make_perceptron(const Options& o, std::vector<int64_t> hidden, Activation f) {
  for (int64_t& width : hidden) width = scaled_width(width, o.width);
  return std::make_unique<Mlp>(o.input, hidden, o.classes, f);
}
Made make_mlp(const Options& o, Activation f) { return make_perceptron(o, o.hidden, f); }
Made make_lenet300(const Options& o, Activation f) { return make_perceptron(o, {300, 100}, f); }
Made make_lenet5(const Options& o, Activation f) {
  return std::make_unique<LeNet5>(o.input, o.classes, o.width, f, o.pool == "average");
}

/// One of torchvision's networks, which have activations of their own.
template <class Network>
ModelInfo photographs(const std::string& name, const std::string& help) {
  return {name, help,     {224, 224, 3},
          1000, {"stem"}, [](const Options& o, Activation) { return std::make_unique<Network>(o); },
          true};
}

Made make_graph(const Options& o, Activation) {
  if (!o.file) fail_usage("model: graph needs a file that describes it, which 'file' names");
  auto made = read_graph_module(*o.file);
  const Graph& graph = made->graph();
  if (graph.image() != o.input)
    fail_usage("model: ", *o.file, " takes images of ", graph.image(), ", found input ", o.input);
  if (graph.outputs() != o.classes)
    fail_usage("model: ", *o.file, " has ", graph.outputs(), " outputs, found ", o.classes, " classes");
  return made;
}

/// Layers in a row, the last of which puts out a number for each class.
Made make_layers(const Options& o, Activation f) {
  LayerContext context{.classes = o.classes, .width = o.width, .activation = f};
  auto made = std::make_unique<Sequential>(o.layers, o.input, context, "model: layers");
  if (made->output() != Shape{o.classes})
    fail_usage("model: layers: put out ", made->output(), ", expected ", Shape{o.classes},
               ", a number for each class: a 'linear' without 'outputs' does");
  return made;
}

std::vector<ModelInfo> catalogue() {
  const Shape digit{28, 28, 1}, small{32, 32, 3}, photograph{224, 224, 3};
  std::vector<ModelInfo> models{
      {"mlp",
       "multilayer perceptron fc1..fcN; 'hidden' gives its widths (default 256, 128)",
       digit,
       10,
       {"hidden"},
       make_mlp},
      {"lenet300", "LeNet-300-100: an MLP of 300 and 100", digit, 10, {}, make_lenet300},
      {"lenet5",
       "LeNet-5 (Caffe's): two 5x5 convolutions and two linear layers, 431,080 parameters",
       digit,
       10,
       {"pool"},
       make_lenet5}};
  for (const VggPlan& plan : vgg_plans()) {
    const auto make = [&plan](const Options& o, Activation f) { return std::make_unique<Vgg>(plan, o, f); };
    models.push_back({join("vgg", plan.depth),
                      join("VGG-", plan.depth, " for small images"),
                      small,
                      100,
                      {"pool", "batch_norm"},
                      make});
  }
  for (const ResNetPlan& plan : resnet_plans()) {
    const auto make = [&plan](const Options& o, Activation f) {
      return std::make_unique<ResNet>(plan, o, f);
    };
    const std::string name = join("resnet", plan.depth), title = join("ResNet-", plan.depth);
    if (plan.has_stem())
      models.push_back({name,
                        title + (plan.bottleneck ? " of bottleneck blocks" : " of basic blocks"),
                        photograph,
                        1000,
                        {"pool", "stem"},
                        make});
    else
      models.push_back({name, title + " for small images", small, 10, {}, make});
  }
  models.push_back(photographs<MobileNetV2>("mobilenetv2", "MobileNetV2: inverted residuals"));
  models.push_back(photographs<MobileNetV3Small>(
      "mobilenetv3_small", "MobileNetV3-Small: inverted residuals with squeeze-and-excitation"));
  models.push_back(photographs<MobileNetV3Large>(
      "mobilenetv3_large", "MobileNetV3-Large: inverted residuals with squeeze-and-excitation"));
  models.push_back(
      photographs<DenseNet121>("densenet121", "DenseNet-121: what a layer makes beside all before it"));
  models.push_back(photographs<SqueezeNet>("squeezenet", "SqueezeNet 1.1: fires of 1x1 and 3x3"));
  models.push_back({"vit",
                    "vision transformer for small images, timm's with a class token, GELU always; structural "
                    "pruning cuts the hidden layers of its blocks",
                    small,
                    10,
                    {"patch", "dim", "depth", "heads", "mlp_ratio"},
                    [](const Options& o, Activation) { return std::make_unique<VisionTransformer>(o); }});
  models.push_back({"layers",
                    "a network that the config writes down: 'layers' is a list of them (docs/layers.md)",
                    {},
                    0,
                    {"layers"},
                    make_layers});
  models.push_back(
      {"graph",
       "a network that nothing but 'file' describes: a graph as JSON (docs/formats.md), or a file of weights "
       "that holds one",
       {},
       0,
       {"file"},
       make_graph});
  return models;
}

/// Fails unless `value` is one of the two.
void check_choice(const char* what, const std::string& value, const char* one, const char* other) {
  if (value != one && value != other)
    fail_usage("model: no ", what, " '", value, "', expected ", one, " or ", other);
}

/// Error unless there is memory for the model's parameters and for one image's way through it.
void check_memory(Module& model, const Options& o) {
  double parameters = 0;
  for (const Parameter* parameter : model.parameters())
    parameters += static_cast<double>(parameter->value().bytes());
  const double activations = activation_bytes(model, o.input);
  require_memory(parameters + activations,
                 join("model: ", o.type, " needs ", bytes_text(parameters + activations), " (parameters ",
                      bytes_text(parameters), ", activations of an image ", bytes_text(activations), ")"));
}

}  // namespace

const std::vector<ModelInfo>& model_catalogue() {
  static const std::vector<ModelInfo> models = catalogue();
  return models;
}

const ModelInfo* find_model(const std::string& name) {
  const auto& models = model_catalogue();
  const auto found =
      std::find_if(models.begin(), models.end(), [&](const ModelInfo& info) { return info.name == name; });
  return found == models.end() ? nullptr : &*found;
}

std::vector<std::string> model_names(const std::string& option) {
  std::vector<std::string> names;
  for (const ModelInfo& info : model_catalogue())
    if (option.empty() || std::count(info.options.begin(), info.options.end(), option))
      names.push_back(info.name);
  return names;
}

bool has_imagenet_stem(const ModelOptions& o) {
  const bool small = std::min(o.input[0], o.input[1]) < 64;
  return o.stem.value_or(small ? "small" : "imagenet") == "imagenet";
}

int64_t scaled_width(int64_t channels, double width) {
  return std::max<int64_t>(1, std::llround(static_cast<double>(channels) * width));
}

std::unique_ptr<Module> make_model(const ModelOptions& o, uint64_t seed) {
  check_choice("activation", o.activation, "relu", "gelu");
  check_choice("pooling", o.pool, "max", "average");
  const ModelInfo* info = find_model(o.type);
  if (!info) fail_no_type("model", o.type, model_names());
  if (o.classes < 1) fail_usage("model: found ", o.classes, " classes, expected at least 1");
  if (o.stem) {
    check_choice("stem", *o.stem, "small", "imagenet");
    if (!std::count(info->options.begin(), info->options.end(), "stem"))
      fail_usage("model: ", o.type, " has no choice of a stem, but found '", *o.stem, "'");
  }
  if (info->has_own_activations && o.activation != Options().activation)
    fail_usage("model: ", o.type, " has activations of its own, but found '", o.activation, "'");
  const auto make = [&] {
    return info->make(o, o.activation == "gelu" ? Activation::gelu : Activation::relu);
  };
  if (MetaDevice::active()) return make();
  {
    const MetaDevice shapes_alone;
    check_memory(*make(), o);
  }
  auto model = make();
  initialize(*model, seed);
  return model;
}

}  // namespace espalier

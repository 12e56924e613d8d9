#include "espalier/nn/models/models.h"

#include <algorithm>
#include <cmath>

#include "espalier/core/spelling.h"
#include "espalier/nn/init.h"
#include "espalier/nn/models/lenet.h"
#include "espalier/nn/models/mlp.h"

namespace espalier {
namespace {

std::unique_ptr<Module> make_mlp(const ModelOptions& o, std::vector<int64_t> hidden, Activation f) {
  for (int64_t& width : hidden) width = scaled_width(width, o.width);
  return std::make_unique<Mlp>(o.input, hidden, o.classes, f);
}

}  // namespace

const std::vector<ModelInfo>& model_catalogue() {
  static const std::vector<ModelInfo> models{
      {"mlp",
       "multilayer perceptron fc1..fcN; 'hidden' gives its widths (default 256, 128)",
       {28, 28, 1},
       10},
      {"lenet300", "LeNet-300-100: an MLP of 300 and 100", {28, 28, 1}, 10},
      {"lenet5",
       "LeNet-5 (Caffe's): two 5x5 convolutions and two linear layers, 431,080 parameters",
       {28, 28, 1},
       10},
  };
  return models;
}

int64_t scaled_width(int64_t channels, double width) {
  return std::max<int64_t>(1, std::llround(static_cast<double>(channels) * width));
}

std::unique_ptr<Module> make_model(const ModelOptions& o, uint64_t seed) {
  if (o.activation != "relu" && o.activation != "gelu")
    fail_usage("model: no activation '", o.activation, "', expected relu or gelu");
  if (o.pool != "max" && o.pool != "average")
    fail_usage("model: no pooling '", o.pool, "', expected max or average");
  const Activation f = o.activation == "gelu" ? Activation::gelu : Activation::relu;
  std::unique_ptr<Module> model;
  if (o.type == "mlp")
    model = make_mlp(o, o.hidden, f);
  else if (o.type == "lenet300")
    model = make_mlp(o, {300, 100}, f);
  else if (o.type == "lenet5")
    model = std::make_unique<LeNet5>(o.input, o.classes, o.width, f, o.pool == "average");
  else {
    std::vector<std::string> names;
    for (const ModelInfo& info : model_catalogue()) names.push_back(info.name);
    fail_usage("model: no type '", o.type, "'", did_you_mean(o.type, names));
  }
  initialize(*model, seed);
  return model;
}

}  // namespace espalier

#include "espalier/nn/models/models.h"

#include <algorithm>
#include <cmath>

#include "espalier/core/physical_memory.h"
#include "espalier/nn/init.h"
#include "espalier/nn/network.h"
#include "espalier/util/table.h"

namespace espalier {

// Each in the source that is named like it, or like its family.
ModelInfo mlp();
ModelInfo lenet300();  // mlp.cpp
ModelInfo lenet5();
std::vector<ModelInfo> vggs();
std::vector<ModelInfo> resnets();
ModelInfo mobilenetv2();
ModelInfo mobilenetv3_small();
ModelInfo mobilenetv3_large();
ModelInfo densenet121();
ModelInfo squeezenet();
ModelInfo vit();
ModelInfo model_of_layers();
ModelInfo model_of_graph();
ModelInfo model_of_onnx();

namespace {

/// In the order of help.
std::vector<ModelInfo> all_models() {
  const std::vector<ModelInfo> groups[] = {
      {mlp(), lenet300(), lenet5()},
      vggs(),
      resnets(),
      {mobilenetv2(), mobilenetv3_small(), mobilenetv3_large(), densenet121(), squeezenet(), vit(),
       model_of_layers(), model_of_graph(), model_of_onnx()}};
  std::vector<ModelInfo> all;
  for (const auto& group : groups) all.insert(all.end(), group.begin(), group.end());
  return all;
}

/// Fails unless `value` is one of the two.
void check_choice(const char* what, const std::string& value, const char* one, const char* other) {
  if (value != one && value != other)
    fail_usage("model: no ", what, " '", value, "', expected ", one, " or ", other);
}

/// Error unless there is memory for the model's parameters and for one image's way through it.
void check_memory(Module& model, const ModelOptions& o) {
  double parameters = 0;
  for (const Parameter* parameter : model.parameters())
    parameters += static_cast<double>(parameter->value().bytes());
  const double activations = activation_bytes(model, o.input);
  require_memory(parameters + activations,
                 join("model: ", o.type, " needs ", bytes_text(parameters + activations), " (parameters ",
                      bytes_text(parameters), ", activations of an image ", bytes_text(activations), ")"));
}

}  // namespace

Registry<ModelInfo>& models() {
  static Registry<ModelInfo> all("model", all_models());
  return all;
}

bool has_imagenet_stem(const ModelOptions& o) {
  const bool small = std::min(o.input[0], o.input[1]) < 64;
  return o.stem.value_or(small ? "small" : "imagenet") == "imagenet";
}

int64_t scaled_width(int64_t channels, double width) {
  return std::max<int64_t>(1, std::llround(static_cast<double>(channels) * width));
}

std::unique_ptr<Module> make_model(const ModelOptions& given, uint64_t seed) {
  check_choice("activation", given.activation, "relu", "gelu");
  check_choice("pooling", given.pool, "max", "average");
  init_rules().named(given.init);
  const ModelInfo& info = models().named(given.type);
  ModelOptions o = given;
  o.extra = given.extra.with_defaults(info.extra, "model " + info.name);
  if (o.classes < 1) fail_usage("model: found ", o.classes, " classes, expected at least 1");
  if (o.stem) {
    check_choice("stem", *o.stem, "small", "imagenet");
    if (!std::count(info.options.begin(), info.options.end(), "stem"))
      fail_usage("model: ", o.type, " has no choice of a stem, but found '", *o.stem, "'");
  }
  if (info.has_own_activations && o.activation != ModelOptions().activation)
    fail_usage("model: ", o.type, " has activations of its own, but found '", o.activation, "'");
  const auto make = [&] {
    return info.make(o, o.activation == "gelu" ? Activation::gelu : Activation::relu);
  };
  if (MetaDevice::active()) return make();
  {
    const MetaDevice shapes_alone;
    check_memory(*make(), o);
  }
  auto model = make();
  initialize(*model, seed, o.init);
  return model;
}

}  // namespace espalier

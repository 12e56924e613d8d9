// Models by name and options.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "espalier/core/kernels.h"
#include "espalier/nn/module.h"
#include "espalier/nn/sequential.h"
#include "espalier/util/extra_options.h"
#include "espalier/util/registry.h"

namespace espalier {

/// What a config's `model` says; each model uses the fields that concern it.
struct ModelOptions {
  std::string type = "mlp";   ///< a row of models()
  Shape input = {28, 28, 1};  ///< one image, [H,W,C]
  int64_t classes = 10;
  std::vector<int64_t> hidden = {256, 128};  ///< widths of an MLP's hidden layers
  double width = 1.0;               ///< factor on every hidden width, rounded to the nearest, at least 1
  std::string activation = "relu";  ///< or "gelu"
  std::string init = "pytorch";     ///< by what its weights begin: a row of init_rules() (nn/init.h)
  std::string pool = "max";         ///< or "average"
  bool batch_norm = true;           ///< a VGG's norms
  /// How it begins: "imagenet", as published, a ResNet with 7x7 by stride 2 and pooling, or "small", with
  /// fewer strides, a ResNet with 3x3; absent: small where a side has under 64 pixels
  std::optional<std::string> stem = {};
  std::vector<LayerSpec> layers = {};  ///< of `layers`
  /// Of a `graph`: what describes it, a graph's JSON or a file of weights that holds one
  std::optional<std::string> file = {};
  /// Of a `vit`: pixels of a patch's side, channels of a token, blocks, heads of each, and hidden units of a
  /// block in channels.
  int64_t patch = 4, dim = 192, depth = 9, heads = 3;
  double mlp_ratio = 4;
  ExtraOptions extra = {};  ///< those that the row declares
};

/// What a name of a model stands for, a row of `espalier help models`.
struct ModelInfo {
  std::string name, help;
  Shape input = {};  ///< of one image, when none is given; no axes where a config or a file says it
  int64_t classes = 0;
  std::vector<std::string> options = {};  ///< which concern it, besides input, classes, width, activation and init
  std::vector<ExtraOption> extra = {};
  std::function<std::unique_ptr<Module>(const ModelOptions&, Activation)> make;
  bool has_own_activations = false;  ///< `activation` may say nothing else than its default
};
Registry<ModelInfo>& models();

/// Whether it begins as published for photographs: what the option `stem` says, or the size of the images.
bool has_imagenet_stem(const ModelOptions& options);

/// `channels` times `width`, rounded to the nearest, at least 1.
int64_t scaled_width(int64_t channels, double width);

/// Builds a model and initialises it from `seed` (nn/init.h). A type that does not exist, or options
/// that do not fit it, are a UsageError. Error, before any memory is taken, if its parameters and one image's
/// activations need more than there is. While a MetaDevice (core/tensor.h) is alive it has only shapes: no
/// values, and no such Error.
std::unique_ptr<Module> make_model(const ModelOptions& options, uint64_t seed);

}  // namespace espalier

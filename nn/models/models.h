// Models by name and options.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "espalier/core/kernels.h"
#include "espalier/nn/module.h"

namespace espalier {

/// What a config's `model` says; each model uses the fields that concern it.
struct ModelOptions {
  std::string type = "mlp";
  Shape input = {28, 28, 1};  ///< one image, [H,W,C]
  int64_t classes = 10;
  std::vector<int64_t> hidden = {256, 128};  ///< widths of an MLP's hidden layers
  double width = 1.0;               ///< factor on every hidden width, rounded to the nearest, at least 1
  std::string activation = "relu";  ///< or "gelu"
  std::string pool = "max";         ///< or "average"
};

/// A row of `espalier help models`.
struct ModelInfo {
  std::string name, help;
  Shape input;  ///< of one image, when none is given
  int64_t classes;
};
const std::vector<ModelInfo>& model_catalogue();

/// `channels` times `width`, rounded to the nearest, at least 1.
int64_t scaled_width(int64_t channels, double width);

/// Builds and initialises a model: PyTorch's defaults, from `seed`. A type that does not exist, or options
/// that do not fit it, are a UsageError.
std::unique_ptr<Module> make_model(const ModelOptions& options, uint64_t seed);

}  // namespace espalier

// A network that is written down as a list of layers, as a config's model.layers is.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "espalier/nn/layers.h"

namespace espalier {

/// One layer of a list. Which fields are whose: layer_kinds().
struct LayerSpec {
  std::string type = "conv";
  std::optional<std::string> name = {};  ///< of its parameters; without one, its type and number: "conv2"
  int64_t channels = 0;                  ///< of conv: outputs
  std::optional<int64_t> outputs = {};   ///< of linear; without: the network's
  int64_t kernel = 3, groups = 1;
  std::optional<int64_t> stride = {};  ///< of conv 1, of pool its window
  std::optional<int64_t> pad = {};     ///< of conv half the kernel, of pool 0
  std::optional<bool> bias = {};       ///< without: unless a norm follows
  std::string kind = "max";            ///< of pool: max, average, global_average
  int64_t window = 2;
  std::optional<std::string> function = {};             ///< of activation; without: the model's
  double p = 0.5;                                       ///< of dropout
  int64_t times = 1;                                    ///< of repeat
  std::vector<LayerSpec> layers = {};                   ///< of repeat and residual
  std::optional<std::vector<LayerSpec>> shortcut = {};  ///< of residual; without: what comes in
  std::vector<std::vector<LayerSpec>> branches = {};    ///< of concat; one without layers: what comes in
};

/// What a list of layers says about itself.
struct LayerKind {
  std::string name, help;
};
const std::vector<LayerKind>& layer_kinds();

/// What holds for all layers of a network.
struct LayerContext {
  int64_t classes;
  double width;           ///< factor on channels and outputs that are given
  Activation activation;  ///< where a layer does not say
  int64_t left = 10'000;  ///< layers that may still come
};

/// Layers one after another. Convolution, norm, activation and the sum of a residual run as one op where
/// they follow each other.
class Sequential : public Module {
 public:
  /// `input`: what comes in, [H,W,C] of an image or [I] of a row, into which so many pixels (`positions`)
  /// were flattened. UsageError, with the layer's place after `place` and the shapes that met, where layers
  /// do not fit each other.
  Sequential(const std::vector<LayerSpec>& layers, const Shape& input, LayerContext& context,
             const std::string& place, int64_t positions = 1);
  /// The layers of a `residual`, and its shortcut, which forward() does not go through.
  Sequential(const LayerSpec& residual, const Shape& input, LayerContext& context, const std::string& place,
             int64_t positions);
  Variable forward(const Variable& x) override { return forward(x, {}, Activation::none); }
  /// f(layers(x) + residual)
  Variable forward(const Variable& x, const Variable& residual, Activation f);
  std::string type() const override { return "sequential"; }

  /// What comes out: [H,W,C] or [I].
  const Shape& output() const { return shape_; }

 private:
  using Layers = std::vector<LayerSpec>;
  using Step = std::function<Variable(const Variable&)>;
  class Reading;

  std::vector<Step> steps_;
  // A norm at the end, which takes along what a residual adds.
  Conv2d* convolution_ = nullptr;
  BatchNorm2d* norm_ = nullptr;
  Sequential* shortcut_ = nullptr;
  Shape shape_;
  int64_t positions_;  // pixels that were flattened into the row that comes out
};

}  // namespace espalier

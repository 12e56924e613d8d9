// The network that a config writes down as a list of layers.
#include "espalier/nn/models/models.h"

namespace espalier {
namespace {

/// Layers in a row, the last of which puts out a number for each class.
std::unique_ptr<Module> make_layers(const ModelOptions& o, Activation f) {
  LayerContext context{.classes = o.classes, .width = o.width, .activation = f};
  auto made = std::make_unique<Sequential>(o.layers, o.input, context, "model: layers");
  if (made->output() != Shape{o.classes})
    fail_usage("model: layers: put out ", made->output(), ", expected ", Shape{o.classes},
               ", a number for each class: a 'linear' without 'outputs' does");
  return made;
}

}  // namespace

ModelInfo model_of_layers() {
  return {.name = "layers",
          .help = "a network that the config writes down: 'layers' is a list of them (docs/layers.md)",
          .options = {"layers"},
          .make = make_layers};
}

}  // namespace espalier

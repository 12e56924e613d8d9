// What the tests of models ask of them.
#pragma once

#include <string>
#include <vector>

#include "espalier/nn/models/models.h"
#include "espalier/nn/network.h"

namespace espalier {

using Names = std::vector<std::string>;

/// That model, a tenth as wide and with 7 classes, for images that are quick.
inline ModelOptions small(const std::string& type) {
  return {.type = type, .input = {17, 9, 2}, .classes = 7, .width = 0.1};
}

inline Network network(const ModelOptions& options) {
  return Network(*make_model(options, 0), options.input);
}

inline Names layer_names(const ModelOptions& options) {
  Names names;
  const auto model = make_model(options, 0);
  for (const auto& [name, layer] : model->layers()) names.push_back(name);
  return names;
}

/// The shape of what the layer of that name reads.
inline Shape shape_behind(const ModelOptions& options, const std::string& layer) {
  const Graph graph = network(options).graph;
  for (const GraphNode& node : graph.nodes)
    for (const int input : node.present())
      if (graph.values[static_cast<size_t>(input)].parameter == layer + ".weight")
        return graph.shape(node.inputs[0]);
  return {};
}

/// What make_model says to bad options.
inline std::string refusal(const ModelOptions& options) {
  try {
    make_model(options, 0);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace espalier

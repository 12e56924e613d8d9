// The network that a file describes as a graph of ops.
#include "espalier/nn/graph_module.h"
#include "espalier/nn/models/models.h"

namespace espalier {
namespace {

std::unique_ptr<Module> make_graph(const ModelOptions& o, Activation) {
  if (!o.file) fail_usage("model: graph needs a file that describes it, which 'file' names");
  auto made = read_graph_module(*o.file);
  const Graph& graph = made->graph();
  if (graph.image() != o.input)
    fail_usage("model: ", *o.file, " takes images of ", graph.image(), ", found input ", o.input);
  if (graph.outputs() != o.classes)
    fail_usage("model: ", *o.file, " has ", graph.outputs(), " outputs, found ", o.classes, " classes");
  return made;
}

}  // namespace

ModelInfo model_of_graph() {
  return {.name = "graph",
          .help =
              "a network that nothing but 'file' describes: a graph as JSON (docs/formats.md), or a file of "
              "weights "
              "that holds one",
          .options = {"file"},
          .make = make_graph};
}

/// run/config.cpp makes a `graph` with these weights of it.
ModelInfo model_of_onnx() {
  return {.name = "onnx",
          .help =
              "the network of an ONNX file, 'file', with its weights: \"graph\" with the same 'file' and "
              "'weights'",
          .options = {"file"},
          .make = make_graph};
}

}  // namespace espalier

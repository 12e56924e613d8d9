#include "espalier/onnx/tidy.h"

#include <gtest/gtest.h>

#include "espalier/graph/op.h"
#include "espalier/nn/network.h"
#include "support/zoo.h"

namespace espalier {
namespace {

/// Ops with their attributes, and whether each is a parameter of what it reads, in order.
std::vector<std::string> written(const Graph& graph) {
  std::vector<std::string> lines;
  for (const GraphNode& node : graph.nodes) {
    std::string line = node.op;
    for (const auto& [name, value] : node.attributes)
      if (const auto* text = std::get_if<std::string>(&value)) line += " " + name + "=" + *text;
    for (const int value : node.present())
      line += graph.is_parameter(value) ? " " + graph.values[static_cast<size_t>(value)].parameter : " v";
    lines.push_back(line);
  }
  return lines;
}

TEST(Tidied, ActivationsThatOnlyFollowALayerAreItsOwn) {
  size_t apart_more = 0;
  for (const Zoo& one : zoo()) {
    SCOPED_TRACE(one.name);
    const Graph graph = Network(*make_model(one.options, 1), one.options.input).graph,
                apart = with_activations_apart(graph), tidy = tidied(apart);
    EXPECT_EQ(written(tidy), written(graph));
    EXPECT_EQ(tidy.values.size(), graph.values.size());  // none is left that no op reads or makes
    apart_more += apart.nodes.size() - graph.nodes.size();
  }
  EXPECT_GT(apart_more, 100);
}

TEST(Tidied, ASumAfterANormIsItsResidualAndAMeanOfPixelsIsAGlobalPooling) {
  const Graph graph =
      Network(*make_model({.type = "resnet20", .input = {8, 8, 3}, .classes = 5, .width = 0.25}, 1),
              {8, 8, 3})
          .graph;
  Graph apart = with_activations_apart(graph);
  int sums = 0;
  for (size_t i = 0; i < apart.nodes.size(); ++i) {
    if (apart.nodes[i].op == "batch_norm" && apart.nodes[i].inputs.size() == 6) {
      GraphNode sum{.op = "add",
                    .attributes = {},
                    .inputs = {static_cast<int>(apart.values.size()), apart.nodes[i].inputs.back()},
                    .output = apart.nodes[i].output,
                    .channels = Channels::tied};
      apart.values.push_back({.shape = apart.shape(sum.output), .parameter = {}});
      apart.nodes[i].inputs.pop_back();
      apart.nodes[i].output = sum.inputs[0];
      apart.nodes[i].channels = Channels::kept;
      apart.nodes.insert(apart.nodes.begin() + static_cast<std::ptrdiff_t>(i) + 1, sum);
      ++sums;
    }
    if (apart.nodes[i].op == "global_average_pool") {
      GraphNode flat{.op = "flatten",
                     .attributes = {},
                     .inputs = {static_cast<int>(apart.values.size())},
                     .output = apart.nodes[i].output,
                     .channels = Channels::kept};
      const int64_t channels = apart.shape(flat.output)[1];
      apart.values.push_back({.shape = {1, 1, 1, channels}, .parameter = {}});
      apart.nodes[i].op = "adaptive_average_pool2d";
      apart.nodes[i].attributes = {{"rows", int64_t{1}}, {"columns", int64_t{1}}};
      apart.nodes[i].output = flat.inputs[0];
      apart.nodes.insert(apart.nodes.begin() + static_cast<std::ptrdiff_t>(i) + 1, flat);
      ++i;
    }
  }
  EXPECT_EQ(sums, 9);
  EXPECT_EQ(written(tidied(apart)), written(graph));
}

}  // namespace
}  // namespace espalier

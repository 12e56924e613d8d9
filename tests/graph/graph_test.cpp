#include "espalier/graph/graph.h"

#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "espalier/graph/trace.h"

namespace espalier {
namespace {

TEST(Graph, KnowsWhoMakesAndWhoReadsAValue) {
  const Variable x(Tensor::zeros({1, 2, 2, 3})), w(Tensor::zeros({5, 12}), true, "head.fc.weight");
  Trace trace;
  const NoGradient off;
  const Variable doubled = ops::scale(x, 2);
  ops::linear(ops::flatten(ops::add(doubled, doubled)), w, {});
  const Graph& graph = trace.graph;  // scale, add, flatten, linear
  ASSERT_EQ(graph.nodes.size(), 4u);
  const auto output = [&](size_t node) { return graph.nodes[node].output; };
  EXPECT_EQ(graph.maker_of(0), nullptr) << "the image";
  EXPECT_EQ(graph.maker_of(output(1)), &graph.nodes[1]);
  EXPECT_EQ(graph.readers_of(output(0)), std::vector{&graph.nodes[1]}) << "once, though it reads it twice";
  EXPECT_EQ(graph.only_reader_of(output(0)), nullptr) << "which reads it twice";
  EXPECT_EQ(graph.only_reader_of(output(1)), &graph.nodes[2]);
  EXPECT_EQ(graph.only_reader_of(output(3)), nullptr);
  EXPECT_EQ(graph.only_reader_of(graph.nodes[3].inputs[1]), nullptr) << "not its first input";
  EXPECT_EQ(graph.layer_of(graph.nodes[3]), "head.fc");
  EXPECT_EQ(graph.layer_of(graph.nodes[2]), "");
  EXPECT_EQ(graph.image(), (Shape{2, 2, 3}));
  EXPECT_EQ(graph.outputs(), 5);
}

}  // namespace
}  // namespace espalier

#include "espalier/graph/op.h"

#include <gtest/gtest.h>

#include <set>

#include "espalier/graph/ops.h"
#include "espalier/graph/trace.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

TEST(Ops, EachRowHasANameOfItsOwnAndNamesItsInputsAndAttributesOnce) {
  std::set<std::string> names;
  for (const Op* op : op_catalogue()) {
    EXPECT_TRUE(names.insert(op->name).second) << op->name;
    EXPECT_EQ(find_op(op->name), op);
    EXPECT_FALSE(op->inputs.empty()) << op->name;
    std::set<std::string_view> of_row;
    for (const OpInput& input : op->inputs) EXPECT_TRUE(of_row.insert(input.name).second) << op->name;
    for (const OpAttribute& attribute : op->attributes)
      EXPECT_TRUE(of_row.insert(attribute.name).second) << op->name;
    EXPECT_EQ(op->activation.empty(), !of_row.contains("activation") && !of_row.contains("function"))
        << op->name;
    EXPECT_EQ(op->fuses.empty(), !op->run_fused) << op->name;
    EXPECT_TRUE(op->fuses.empty() || find_op(op->fuses)) << op->name;
    EXPECT_TRUE(op->run || op->name == "softmax_cross_entropy" || op->name == "softmax_kl_divergence")
        << op->name;
    EXPECT_TRUE(!op->takes_constants || (op->constants && op->macs)) << op->name;
  }
  EXPECT_EQ(find_op("conv3d"), nullptr);
}

TEST(Ops, OfAProgramsOwnAreFoundOnceTheyAreAdded) {
  EXPECT_EQ(find_op("twice"), nullptr);
  add_op({.name = "twice", .inputs = {{"x"}}, .run = [](const OpArguments& x) {
            return ops::scale(x("x"), 2);
          }});
  ASSERT_NE(find_op("twice"), nullptr);
  EXPECT_EQ(message_of([] { add_op({.name = "twice", .inputs = {{"x"}}}); }), "op 'twice' is there already");
}

TEST(Ops, ActivationsApartAreOpsOfTheirOwnAndTheRestIsTheSame) {
  Trace trace;
  const Variable x(Tensor::from({1, 2}, std::vector<float>{1, -2})),
      w(Tensor::from({2, 2}, std::vector<float>{1, 0, 0, 1}));
  ops::linear(ops::linear(x, w, {}, Activation::relu), w, {});
  trace.close();
  const Graph apart = with_activations_apart(trace.graph);
  ASSERT_EQ(apart.nodes.size(), 3u);
  EXPECT_EQ(std::get<std::string>(*apart.nodes[0].attribute("activation")), "none");
  EXPECT_EQ(apart.nodes[1].op, "activation");
  EXPECT_EQ(std::get<std::string>(*apart.nodes[1].attribute("function")), "relu");
  EXPECT_EQ(apart.nodes[1].inputs, std::vector<int>{apart.nodes[0].output});
  EXPECT_EQ(apart.nodes[1].output, trace.graph.nodes[0].output);
  EXPECT_EQ(apart.nodes[2].inputs, trace.graph.nodes[1].inputs);
  EXPECT_EQ(apart.shape(apart.nodes[0].output), (Shape{1, 2}));
}

TEST(Ops, ACallAnswersByNameWithWhatIsLeftOutAndWhatIsNotSaid) {
  const Op op{.name = "own",
              .inputs = {{"x"}, {"bias", OpInput::optional}},
              .attributes = {{"power", int64_t{1}}, {"slope", 0.5, false}}};
  const Graph graph{{{{1, 4}, ""}, {{1, 4}, ""}, {{1, 4}, ""}}, {}};
  const GraphNode node{"own", {{"power", int64_t{3}}}, {0, GraphNode::absent}, 2, Channels::kept};
  const OpCall call(graph, node, op);
  EXPECT_EQ(call.input("x"), 0);
  EXPECT_FALSE(call.has("bias"));
  EXPECT_EQ(call.whole("power"), 3);
  EXPECT_EQ(call.real("slope"), 0.5f);
  EXPECT_EQ(call.activation(), Activation::none);
  EXPECT_EQ(message_of([&] { call.input("weight"); }), "own: has no input 'weight'");
  EXPECT_EQ(message_of([&] { call.whole("p"); }), "own: has no attribute 'p'");
  const auto refusal = [&](GraphNode wrong) { return message_of([&] { OpCall(graph, wrong, op); }); };
  EXPECT_EQ(refusal({"own", {{"power", int64_t{3}}}, {}, 2, Channels::kept}),
            "own: has 0 inputs, expected 1 or more");
  EXPECT_EQ(refusal({"own", {{"power", int64_t{3}}}, {GraphNode::absent, 1}, 2, Channels::kept}),
            "own: its input 'x' is left out");
  EXPECT_EQ(refusal({"own", {}, {0}, 2, Channels::kept}), "own: has no attribute 'power' of its kind");
  EXPECT_EQ(refusal({"own", {{"power", 3.0}}, {0}, 2, Channels::kept}),
            "own: has no attribute 'power' of its kind");
  EXPECT_EQ(refusal({"own", {{"power", int64_t{3}}, {"pover", int64_t{3}}}, {0}, 2, Channels::kept}),
            "own: no attribute 'pover', did you mean 'power'?");
}

TEST(Ops, AListMayStandForANumberByAxisOrBySide) {
  const Op op{.name = "own",
              .inputs = {{"x"}},
              .attributes = {{"stride", int64_t{1}, true, OpAttribute::by_axis},
                             {"pad", int64_t{2}, false, OpAttribute::by_side}}};
  const Graph graph{{{{1, 4}, ""}, {{1, 4}, ""}}, {}};
  using List = std::vector<int64_t>;
  const auto node = [](Attribute stride, Attribute pad) {
    return GraphNode{"own", {{"stride", stride}, {"pad", pad}}, {0}, 1, Channels::kept};
  };
  const GraphNode lists = node(List{2, 3}, List{1, 2, 3, 4}), numbers = node(int64_t{2}, int64_t{1}),
                  least{"own", {{"stride", int64_t{2}}}, {0}, 1, Channels::kept};
  EXPECT_EQ(OpCall(graph, lists, op).by_axis("stride"), ByAxis(2, 3));
  EXPECT_EQ(OpCall(graph, lists, op).by_side("pad"), Padding(1, 2, 3, 4));
  EXPECT_EQ(OpCall(graph, numbers, op).by_axis("stride"), 2);
  EXPECT_EQ(OpCall(graph, numbers, op).by_side("pad"), 1);
  EXPECT_EQ(OpCall(graph, least, op).by_side("pad"), 2) << "where it does not say";
  for (const GraphNode& wrong :
       {node(List{2}, int64_t{1}), node(List{2, 3, 4}, int64_t{1}), node(2.0, int64_t{1})})
    EXPECT_EQ(message_of([&] { OpCall(graph, wrong, op); }), "own: has no attribute 'stride' of its kind");
  EXPECT_EQ(message_of([&] {
              OpCall(graph, node(int64_t{1}, List{1, 2}), op);
            }),
            "own: has no attribute 'pad' of its kind");
}

TEST(Ops, AConvolutionRunsTogetherWithTheNormThatAloneReadsIt) {
  const Variable x(Tensor::zeros({1, 3, 3, 2})), w(Tensor::zeros({4, 1, 1, 2}), true, "c.weight");
  const auto of = [](float value) { return Variable(Tensor::full({4}, value)); };
  const ops::BatchNorm norm{of(1), of(0), of(0), of(1), 1e-5f, 0.1f, false};
  const NoGradient off;
  const auto fused = [&](Activation f, bool twice) {
    Trace trace;
    const Variable z = ops::conv2d(x, w, {}, {}, f);
    ops::batch_norm(z, norm, Activation::none, twice ? z : Variable());
    return fused_behind(trace.graph, trace.graph.nodes[0]) == &trace.graph.nodes[1];
  };
  EXPECT_TRUE(fused(Activation::none, false));
  EXPECT_FALSE(fused(Activation::relu, false)) << "stands between";
  EXPECT_FALSE(fused(Activation::none, true)) << "reads it as the residual, too";
}

}  // namespace
}  // namespace espalier

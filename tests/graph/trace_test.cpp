#include "espalier/graph/trace.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "espalier/graph/ops.h"

namespace espalier {
namespace {

TEST(Trace, DescribesAPass) {
  const Variable image(Tensor::zeros({1, 8, 8, 3})), w(Tensor::zeros({4, 3, 3, 3}), true, "conv.weight"),
      b(Tensor::zeros({4}), true, "conv.bias"), fc(Tensor::zeros({10, 64}), true, "fc.weight");
  const Trace trace;
  const NoGradient off;  // a trace records with and without gradients
  Variable y = ops::conv2d(image, w, b, {.stride = 1, .pad = 1}, Activation::relu);
  y = ops::max_pool2d(y, 2);
  y = ops::dropout(y, 0.5f, 1);
  y = ops::flatten(y);
  y = ops::linear(y, fc, {});
  y = ops::add(y, ops::scale(y, 2.0f));
  ops::softmax_cross_entropy(y, Tensor::zeros({1}, DType::i32), 0.1f);

  const char* names[] = {"conv2d", "max_pool2d", "dropout", "flatten",
                         "linear", "scale",      "add",     "softmax_cross_entropy"};
  const Channels::Rule rules[] = {Channels::mixed, Channels::kept, Channels::kept, Channels::flattened,
                                  Channels::mixed, Channels::kept, Channels::tied, Channels::reduced};
  ASSERT_EQ(trace.graph.nodes.size(), std::size(names));
  for (size_t i = 0; i < std::size(names); ++i) {
    EXPECT_EQ(trace.graph.nodes[i].op, names[i]);
    EXPECT_EQ(trace.graph.nodes[i].channels.rule, rules[i]) << names[i];
  }
  const GraphNode& conv = trace.graph.nodes[0];
  EXPECT_EQ(conv.inputs, (std::vector{0, 1, 2}));
  EXPECT_EQ(conv.output, 3);
  EXPECT_EQ(conv.channels.values, std::vector<int64_t>{1}) << "groups";
  EXPECT_EQ(
      conv.attributes,
      (std::vector<std::pair<std::string, Attribute>>{
          {"stride", int64_t{1}}, {"pad", int64_t{1}}, {"groups", int64_t{1}}, {"activation", "relu"}}));
  EXPECT_EQ(trace.graph.nodes[1].inputs, std::vector{3});
  EXPECT_EQ(trace.graph.nodes[1].attributes,
            (std::vector<std::pair<std::string, Attribute>>{
                {"window", int64_t{2}}, {"stride", int64_t{2}}, {"pad", int64_t{0}}}));
  EXPECT_EQ(trace.graph.nodes[3].channels.values, std::vector<int64_t>{16}) << "pixels";
  EXPECT_EQ(trace.graph.values[0].shape, (Shape{1, 8, 8, 3}));
  EXPECT_EQ(trace.graph.values[0].parameter, "");
  EXPECT_EQ(trace.graph.values[1].parameter, "conv.weight");
  EXPECT_EQ(trace.graph.values[2].parameter, "conv.bias");
  EXPECT_EQ(trace.graph.values[3].shape, (Shape{1, 8, 8, 4}));
  EXPECT_EQ(trace.tensor(1).f32(), w.value().f32());
  const GraphNode& sum = trace.graph.nodes[6];
  EXPECT_EQ(sum.inputs, (std::vector{trace.graph.nodes[4].output, trace.graph.nodes[5].output}));
  EXPECT_EQ(trace.graph.values[static_cast<size_t>(trace.graph.nodes[7].output)].shape, Shape{});
}

TEST(Trace, WindowsThatAreNotAlikeAreLists) {
  const Variable image(Tensor::zeros({1, 9, 9, 2})), w(Tensor::zeros({4, 3, 2, 2}), true, "conv.weight");
  const Trace trace;
  Variable y = ops::conv2d(image, w, {}, {.stride = {2, 1}, .pad = {0, 1, 2, 1}, .dilation = {1, 2}});
  y = ops::max_pool2d(y, {2, 3}, 2, {1, 0}, true);
  ops::average_pool2d(y, 2, {1, 2}, 0, false, false);
  using Named = std::vector<std::pair<std::string, Attribute>>;
  using List = std::vector<int64_t>;
  EXPECT_EQ(trace.graph.nodes[0].attributes, (Named{{"stride", List{2, 1}},
                                                    {"pad", List{0, 1, 2, 1}},
                                                    {"groups", int64_t{1}},
                                                    {"activation", "none"},
                                                    {"dilation", List{1, 2}}}));
  EXPECT_EQ(trace.graph.nodes[1].attributes, (Named{{"window", List{2, 3}},
                                                    {"stride", int64_t{2}},
                                                    {"pad", List{1, 0, 1, 0}},
                                                    {"ceil_mode", int64_t{1}}}));
  EXPECT_EQ(trace.graph.nodes[2].attributes, (Named{{"window", int64_t{2}},
                                                    {"stride", List{1, 2}},
                                                    {"pad", int64_t{0}},
                                                    {"count_include_pad", int64_t{0}}}));
}

TEST(Trace, ASharedParameterIsOneValue) {
  const Variable w(Tensor::zeros({3, 3}), true, "shared"), x(Tensor::zeros({2, 3}));
  const Trace trace;
  ops::linear(ops::linear(x, w, {}), w, {});
  EXPECT_EQ(trace.graph.nodes[0].inputs[1], trace.graph.nodes[1].inputs[1]);
  EXPECT_EQ(std::ranges::count(trace.graph.values, std::string("shared"), &GraphValue::parameter), 1);
}

TEST(Trace, ValuesOfDeadVariablesKeepTheirNumbers) {
  // A value that dies at once leaves its address to the next: the trace must not take the two for one.
  const Trace trace;
  const NoGradient off;
  const Variable x(Tensor::zeros({2}));
  for (int i = 0; i < 50; ++i) ops::scale(x, 1.0f);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(trace.graph.nodes[static_cast<size_t>(i)].output, i + 1);
}

TEST(Trace, TheInnermostRecords) {
  const Variable x(Tensor::zeros({2}));
  EXPECT_EQ(OpObserver::active(), nullptr);
  const Trace outer;
  ops::scale(x, 1.0f);
  {
    const Trace inner;
    ops::sum(x);
    EXPECT_EQ(OpObserver::active(), &inner);
    EXPECT_EQ(inner.graph.nodes.size(), 1u);
  }
  EXPECT_EQ(OpObserver::active(), &outer);
  ops::mean(x);
  ASSERT_EQ(outer.graph.nodes.size(), 2u);
  EXPECT_EQ(outer.graph.nodes[1].op, "mean");
}

TEST(Trace, RecordsNoMoreOnceItIsClosed) {
  const Variable x(Tensor::zeros({2}));
  const Trace outer;
  {
    Trace inner;
    ops::sum(x);
    inner.close();
    inner.close();
    EXPECT_EQ(OpObserver::active(), &outer);
    ops::mean(x);
    EXPECT_EQ(inner.graph.nodes.size(), 1u);
  }
  EXPECT_EQ(OpObserver::active(), &outer);
  EXPECT_EQ(outer.graph.nodes.size(), 1u);
}

}  // namespace
}  // namespace espalier

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "espalier/graph/ops.h"
#include "espalier/graph/trace.h"
#include "graph/op_sample.h"
#include "support/bad_input.h"
#include "support/formulas.h"
#include "support/op_case.h"

namespace espalier {
namespace {

const AddOpSample activation_sample{"activation",
                                    {.inputs = {{2, 7}}, .attributes = {{"function", std::string("gelu")}}}};
const AddOpSample clip_sample{"clip", {.inputs = {{2, 7}}, .attributes = {{"min", -0.5}, {"max", 0.25}}}};

TEST(ActivationOp, ReferenceAndGradients) {
  for (const Activation f : activations)
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{3, 5, 7, 11}, Shape{33, 1001}}) {
      OpCase c{.inputs = {shape},
               .op = [=](const auto& v) { return ops::activation(v[0], f); },
               .reference =
                   [=](const auto& v) {
                     Doubles y;
                     for (const double x : v[0]) y.push_back(activated(f, x));
                     return y;
                   },
               .tolerance = 1e-6,
               .low = -4,
               .high = 8};
      if (shape.elements() > 10000) c.tolerance = 2e-6;
      check(c);
    }
}

TEST(Clip, ReferenceAndGradients) {
  const float none = std::numeric_limits<float>::infinity();
  for (const auto& [low, high] :
       {std::pair{-1.5f, 3.0f}, {-none, 2.0f}, {0.0f, none}, {-none, none}, {1.0f, 1.0f}})
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{3, 5, 7, 11}, Shape{33, 1001}}) {
      SCOPED_TRACE(testing::Message() << low << " to " << high << ", " << shape);
      check({.inputs = {shape},
             .op = [low = low, high = high](const auto& v) { return ops::clip(v[0], low, high); },
             .reference =
                 [low = low, high = high](auto v) {
                   for (double& x : v[0]) x = std::clamp<double>(x, low, high);
                   return v[0];
                 },
             .tolerance = 2e-6,
             .low = -4,
             .high = 8});
    }
}

TEST(Clip, TheGradientPassesAtTheBoundsAndNaNStays) {
  const Variable x(Tensor::from({5}, Floats{-2, -1, 0, 1, 2}), true);
  ops::sum(ops::clip(x, -1, 1)).backward();
  const Floats expected{0, 1, 1, 1, 0};
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(x.gradient().f32()[i], expected[i]) << i;
  EXPECT_TRUE(std::isnan(ops::clip(Variable(Tensor::full({1}, std::nanf(""))), -1, 1).value().item()));
}

TEST(Clip, ABoundThatIsNoneIsNotWritten) {
  Trace trace;
  ops::clip(Variable(Tensor::zeros({2, 3})), -std::numeric_limits<float>::infinity(), 6.0f);
  const GraphNode& node = trace.graph.nodes.at(0);
  EXPECT_EQ(node.attributes.size(), 1u);
  EXPECT_EQ(std::get<double>(*node.attribute("max")), 6.0);
}

TEST(Clip, BadArguments) {
  const Variable x(Tensor::zeros({2}));
  EXPECT_EQ(message_of([&] { ops::clip(x, 2, 1); }), "clip: the least, 2, is not at most the largest, 1");
  EXPECT_THROW(ops::clip(x, std::nanf(""), 1), Error);
  const float infinite = std::numeric_limits<float>::infinity();
  EXPECT_THROW(ops::clip(x, infinite, infinite), Error);
  EXPECT_THROW(ops::clip(x, -infinite, -infinite), Error);
}

}  // namespace
}  // namespace espalier

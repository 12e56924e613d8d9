#include "espalier/nn/layers.h"

#include <gtest/gtest.h>

#include "support/numbers.h"

namespace espalier {
namespace {

void randomize(Module& layer) {
  uint64_t key = 1;
  for (Parameter* parameter : layer.parameters())
    parameter->value().copy_from(random_tensor(parameter->shape(), key++));
}

TEST(Layers, LinearIsItsOp) {
  Linear layer(5, 3, true, Activation::tanh);
  randomize(layer);
  const auto parameters = layer.parameters();
  ASSERT_EQ(parameters.size(), 2u);
  EXPECT_EQ(parameters[0]->name, "weight");
  EXPECT_EQ(parameters[0]->shape(), (Shape{3, 5}));
  EXPECT_EQ(parameters[1]->shape(), Shape{3});
  EXPECT_EQ(parameters[0]->role, Role::weight);
  EXPECT_EQ(parameters[1]->role, Role::bias);
  const Variable x(random_tensor({7, 5}, 9));
  const Variable y = ops::linear(x, parameters[0]->variable, parameters[1]->variable, Activation::tanh);
  EXPECT_TRUE(same_bits(layer(x).value(), y.value()));
}

TEST(Layers, Conv2dIsItsOp) {
  const ops::Conv2dOptions options{.stride = 2, .pad = 1, .groups = 2};
  Conv2d layer(4, 6, 3, options, true, Activation::gelu);
  randomize(layer);
  const auto parameters = layer.parameters();
  EXPECT_EQ(parameters[0]->shape(), (Shape{6, 3, 3, 2}));
  EXPECT_EQ(parameters[0]->layout.kind, FileLayout::oihw);
  const Variable x(random_tensor({2, 7, 7, 4}, 9));
  const Variable y =
      ops::conv2d(x, parameters[0]->variable, parameters[1]->variable, options, Activation::gelu);
  EXPECT_TRUE(same_bits(layer(x).value(), y.value()));
}

TEST(Layers, WithoutBias) {
  Linear linear(5, 3, false);
  Conv2d conv(4, 6, 3, {}, false);
  EXPECT_EQ(linear.parameters().size(), 1u);
  EXPECT_EQ(conv.parameters().size(), 1u);
  EXPECT_EQ(linear(Variable(Tensor::zeros({1, 5}))).shape(), (Shape{1, 3}));
  EXPECT_EQ(conv(Variable(Tensor::zeros({1, 5, 5, 4}))).shape(), (Shape{1, 3, 3, 6}));
}

TEST(Layers, AConvolutionHasTheGroupsThatItWasMadeFor) {
  const Variable x(random_tensor({2, 5, 5, 4}, 9));
  const auto cut_to = [&](Conv2d& layer, const Shape& shape, int64_t groups) {
    SCOPED_TRACE(layer.find("weight")->shape());
    Tensor& weight = layer.find("weight")->value();
    weight = random_tensor(shape, 10);
    const Variable part = ops::slice(x, 0, shape[3] * groups);
    EXPECT_TRUE(
        same_bits(layer(part).value(), ops::conv2d(part, Variable(weight), {}, {.groups = groups}).value()));
  };
  Conv2d grouped(8, 16, 3, {.groups = 4}, false), depthwise(4, 8, 3, {.groups = 4}, false);
  cut_to(grouped, {12, 3, 3, 1}, 4);  // one input a group is left, 3 outputs
  cut_to(depthwise, {6, 3, 3, 1}, 3);
  cut_to(depthwise, {2, 3, 3, 1}, 1);
}

TEST(Layers, ADepthwiseWeightHasNoInputAxis) {
  const auto input_axis = [](int64_t in, int64_t groups) {
    return Conv2d(in, 8, 3, {.groups = groups}).channel_axes().at(0).in;
  };
  EXPECT_EQ(input_axis(4, 4), -1);
  EXPECT_EQ(input_axis(8, 4), 3);
  EXPECT_EQ(input_axis(1, 1), 3);
}

TEST(Layers, ChannelAxesPointAtChannels) {
  Linear linear(5, 3);
  Conv2d conv(4, 6, 3);
  for (const auto& [layer, in, out] : {std::tuple<Module*, int64_t, int64_t>{&linear, 5, 3}, {&conv, 4, 6}})
    for (const ChannelAxes& axes : layer->channel_axes()) {
      const Shape& shape = layer->find(axes.parameter)->shape();
      EXPECT_EQ(shape[axes.out], out);
      if (axes.in >= 0) {
        EXPECT_EQ(shape[axes.in], in);
      }
      EXPECT_EQ(axes.in >= 0, axes.parameter == "weight");
    }
}

TEST(Layers, LayerNormIsItsOp) {
  LayerNorm layer(5, 1e-3f);
  layer.find("weight")->value().copy_from(random_tensor({5}, 1));
  layer.find("bias")->value().copy_from(random_tensor({5}, 2));
  const Variable x(random_tensor({2, 3, 5}, 3));
  EXPECT_TRUE(same_bits(
      layer(x).value(),
      ops::layer_norm(x, Variable(random_tensor({5}, 1)), Variable(random_tensor({5}, 2)), 1e-3f).value()));
}

TEST(Layers, AnEmbeddingIsNamedAsItsLayer) {
  class Net : public Module {
   public:
    Net() : token(add_child<Embedding>("token", Shape{1, 2, 3})) {}
    Variable forward(const Variable& x) override { return token.forward(x); }
    std::string type() const override { return "net"; }
    Embedding& token;
  } net;
  ASSERT_NE(net.find("token"), nullptr);
  EXPECT_EQ(net.find("token")->variable.name(), "token");
  EXPECT_EQ(net.layers().at(0).first, "token");
  EXPECT_EQ(net(Variable(Tensor::zeros({4, 7}))).shape(), (Shape{4, 2, 3}));
}

}  // namespace
}  // namespace espalier

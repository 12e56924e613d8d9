// Channels that masks have killed, by hand and in every network of the zoo: what goes, and that nothing else
// changes.
#include "espalier/prune/dead.h"

#include <gtest/gtest.h>

#include "espalier/channels/graph.h"
#include "espalier/nn/inference.h"
#include "espalier/nn/layers.h"
#include "espalier/nn/network.h"
#include "espalier/nn/sequential.h"
#include "support/numbers.h"
#include "support/zoo.h"

namespace espalier {
namespace {

Tensor logits_of(Module& model, const Tensor& images) {
  const Inference inference(model);
  return model.forward(Variable(images)).value();
}

/// conv1 (with a norm) | conv2 | fc, with 4, 3 and 2 outputs.
class Small : public Module {
 public:
  explicit Small(int64_t pad = 0)
      : conv1_(add_child<Conv2d>("conv1", 2, 4, 1)),
        bn1_(add_child<BatchNorm2d>("bn1", 4)),
        conv2_(add_child<Conv2d>("conv2", 4, 3, 3, ops::Conv2dOptions{.pad = pad})),
        fc_(add_child<Linear>("fc", 3, 2)) {}
  Variable forward(const Variable& x) override {
    const Variable y = ops::activation(
        conv2_.forward(ops::activation(bn1_.forward(conv1_.forward(x)), Activation::relu)), Activation::relu);
    return fc_.forward(ops::global_average_pool(y));
  }
  std::string type() const override { return "small"; }

 private:
  Conv2d& conv1_;
  BatchNorm2d& bn1_;
  Conv2d& conv2_;
  Linear& fc_;
};

class Dead : public testing::Test {
 protected:
  const Shape input{5, 5, 2};
  const Tensor images = random_tensor({3, 5, 5, 2}, 1);

  static void fill(Module& model) {
    uint64_t key = 10;
    for (Parameter* parameter : model.parameters())
      if (parameter->value().dtype() == DType::f32)
        parameter->value().copy_from(random_tensor(
            parameter->value().shape(), ++key, parameter->name.ends_with("running_var") ? 0.5 : -1.0, 1.5));
  }
  static void zero_rows(Module& model, const std::string& name, std::initializer_list<int64_t> rows) {
    Tensor& w = model.find(name)->value();
    const int64_t each = w.shape().row_elements();
    for (const int64_t row : rows) std::fill_n(w.f32() + row * each, each, 0.0f);
  }
  static void zero_column(Module& model, const std::string& name, int64_t column) {
    Tensor& w = model.find(name)->value();
    const int64_t columns = w.shape()[-1];
    for (int64_t i = column; i < w.elements(); i += columns) w.f32()[i] = 0.0f;
  }
  static std::vector<int64_t> shape(Module& model, const std::string& name) {
    const auto sizes = model.find(name)->value().shape().sizes();
    return {sizes.begin(), sizes.end()};
  }
};

TEST_F(Dead, WhatNothingReadsAndWhatSaysTheSameGoes) {
  Small model;
  fill(model);
  zero_rows(model, "conv1.weight", {1});  // says f(norm of its bias) to every image
  zero_column(model, "conv2.weight", 3);  // nothing reads channel 3
  zero_column(model, "fc.weight", 0);     // nor the first of conv2
  const Tensor before = logits_of(model, images);
  const PruneResult result = remove_dead(model, input, images);
  EXPECT_EQ(shape(model, "conv1.weight"), (std::vector<int64_t>{2, 1, 1, 2}));
  EXPECT_EQ(shape(model, "bn1.weight"), (std::vector<int64_t>{2}));
  EXPECT_EQ(shape(model, "conv2.weight"), (std::vector<int64_t>{2, 3, 3, 2}));
  EXPECT_EQ(shape(model, "fc.weight"), (std::vector<int64_t>{2, 2}));
  EXPECT_TRUE(near(logits_of(model, images), doubles(before.span<float>()), 1e-6));
  ASSERT_EQ(result.layers.size(), 2);
  EXPECT_EQ(result.layers[0].name, "conv1");
  EXPECT_EQ(result.layers[0].pruned, 2);
  EXPECT_EQ(result.layers[1].pruned, 1);
  EXPECT_LT(result.proof->share(), 1e-6);
  EXPECT_TRUE(result.proof->says_something());
  // 25 pixels x 4 x 2 + 9 x 9 x 4 x 3 + 3 x 2 before
  EXPECT_EQ(result.before.macs, 25 * 8 + 9 * 9 * 12 + 6);
  EXPECT_EQ(result.after.macs, 25 * 4 + 9 * 9 * 4 + 4);
  EXPECT_EQ(model.history.size(), 10);
}

TEST_F(Dead, WhatSaysSomethingStaysWhereItsWordCannotBeTaken) {
  Small model(1);  // a convolution with padding sees zeros at the border, and no constant
  fill(model);
  zero_rows(model, "conv1.weight", {1});
  float& shift = model.find("bn1.bias")->value().f32()[1];
  shift = 9;
  EXPECT_TRUE(remove_dead(model, input).cuts.empty());
  EXPECT_EQ(shape(model, "conv1.weight")[0], 4);
  shift = -9;  // which relu makes 0
  const Tensor before = logits_of(model, images);
  remove_dead(model, input);
  EXPECT_EQ(shape(model, "conv1.weight")[0], 3);
  EXPECT_TRUE(near(logits_of(model, images), doubles(before.span<float>()), 1e-6));
}

TEST_F(Dead, OneDeathBringsAnother) {
  Small model;
  fill(model);
  zero_column(model, "fc.weight", 2);  // conv2's last goes, and with it all that reads conv1's channel 0
  Tensor& w = model.find("conv2.weight")->value();
  for (int64_t o = 0; o < 2; ++o)
    for (int64_t tap = 0; tap < 9; ++tap) w.f32()[o * 36 + tap * 4] = 0.0f;
  const Tensor before = logits_of(model, images);
  remove_dead(model, input);
  EXPECT_EQ(shape(model, "conv1.weight")[0], 3);
  EXPECT_EQ(shape(model, "conv2.weight"), (std::vector<int64_t>{2, 3, 3, 3}));
  EXPECT_TRUE(near(logits_of(model, images), doubles(before.span<float>()), 1e-6));
}

TEST_F(Dead, OneOfALayerStays) {
  Small model;
  fill(model);
  zero_rows(model, "conv2.weight", {0, 1, 2});
  const Tensor before = logits_of(model, images);
  remove_dead(model, input);
  EXPECT_EQ(shape(model, "conv2.weight"), (std::vector<int64_t>{1, 3, 3, 1}));
  EXPECT_TRUE(near(logits_of(model, images), doubles(before.span<float>()), 1e-6));
}

class DeadOf : public testing::TestWithParam<Zoo> {};

TEST_P(DeadOf, LeavesWhatTheNetworkPutsOut) {
  const ModelOptions& options = GetParam().options;
  const auto model = make_model(options, 3);
  const Tensor images = random_tensor({3, options.input[0], options.input[1], options.input[2]}, 1);
  uint64_t key = 0;
  for (Parameter* parameter : model->parameters()) {
    Tensor& w = parameter->value();
    if (parameter->role == Role::weight)  // many rows, and many columns, of zeros
      for (int64_t i = 0, columns = w.shape()[-1], each = w.shape().row_elements(); i < w.elements(); ++i)
        if ((i / each) % 3 == 1 || (columns > 4 && i % columns % 4 == 2)) w.f32()[i] = 0.0f;
    if (parameter->name.ends_with("running_mean") || parameter->role == Role::bias ||
        parameter->role == Role::shift)
      w.copy_from(random_tensor(w.shape(), ++key, -0.3, 0.3));
  }
  const Tensor before = logits_of(*model, images);
  const PruneResult result = remove_dead(*model, options.input, images);
  EXPECT_TRUE(near(logits_of(*model, images), doubles(before.span<float>()), 2e-5));
  EXPECT_LE(result.after.macs, result.before.macs);
  EXPECT_TRUE(remove_dead(*model, options.input).cuts.empty());
}

INSTANTIATE_TEST_SUITE_P(Models, DeadOf, testing::ValuesIn(zoo()),
                         [](const auto& which) { return which.param.name; });

}  // namespace
}  // namespace espalier

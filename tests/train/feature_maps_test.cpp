#include "espalier/train/feature_maps.h"

#include <gtest/gtest.h>

#include "espalier/channels/surgery.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/network.h"
#include "espalier/optim/optimizer.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

const Shape pixels_of_maps{8, 8, 3};

std::unique_ptr<Module> resnet_of_width(double width) {
  return make_model({.type = "resnet20", .input = pixels_of_maps, .width = width}, 1);
}
std::unique_ptr<Module> mlp_of_width(int64_t hidden) {
  return make_model({.type = "mlp", .input = pixels_of_maps, .classes = 3, .hidden = {hidden}}, 1);
}

TEST(FeatureMaps, AreThereWhereWidthsDifferOrWillDiffer) {
  const auto narrow = resnet_of_width(0.25), wide = resnet_of_width(0.5), same = resnet_of_width(0.25);
  FeatureMaps maps({{.student = "layer1"}, {.student = "layer2", .teacher = "layer2.0"}}, *narrow, *wide,
                   pixels_of_maps, false, 7);
  ASSERT_EQ(maps.parameters().size(), 2u);
  EXPECT_EQ(maps.parameters()[0]->name, "distill.0.weight");
  EXPECT_EQ(maps.parameters()[0]->shape(), (Shape{8, 1, 1, 4}));
  EXPECT_EQ(maps.parameters()[1]->shape(), (Shape{16, 1, 1, 8}));
  FeatureMaps again({{.student = "layer1"}}, *narrow, *wide, pixels_of_maps, false, 7);
  EXPECT_TRUE(same_bits(again.parameters()[0]->value(), maps.parameters()[0]->value())) << "of the same seed";
  EXPECT_TRUE(
      FeatureMaps({{.student = "layer1"}}, *narrow, *same, pixels_of_maps, false, 7).parameters().empty());
  EXPECT_EQ(FeatureMaps({{.student = "layer1"}}, *narrow, *same, pixels_of_maps, true, 7).parameters().size(),
            1u);
}

TEST(FeatureMaps, TheDistanceIsTheMeanSquareAfterTheMap) {
  const auto narrow = resnet_of_width(0.25), wide = resnet_of_width(0.5);
  FeatureMaps maps({{.student = "layer1"}}, *narrow, *wide, pixels_of_maps, false, 7);
  Variable x(random_tensor({2, 8, 8, 4}, 1), true);
  const Tensor t = random_tensor({2, 8, 8, 8}, 2);
  const float* const w = maps.parameters()[0]->value().f32();  // [8,4]
  Doubles differences;
  double expected = 0;
  for (int64_t pixel = 0; pixel < 2 * 64; ++pixel)
    for (int64_t o = 0; o < 8; ++o) {
      double y = -t.f32()[pixel * 8 + o];
      for (int64_t c = 0; c < 4; ++c) y += double{w[o * 4 + c]} * x.value().f32()[pixel * 4 + c];
      differences.push_back(y);
      expected += y * y / (2 * 64 * 8);
    }
  const Variable distance = maps.distance(0, x, t);
  EXPECT_NEAR(distance.value().item(), expected, 1e-6);
  distance.backward();
  Doubles dx(2 * 64 * 4), dw(8 * 4);
  for (size_t pixel = 0; pixel < 2 * 64; ++pixel)
    for (size_t o = 0; o < 8; ++o)
      for (size_t c = 0; c < 4; ++c) {
        const double slope = 2 * differences[pixel * 8 + o] / (2 * 64 * 8);
        dx[pixel * 4 + c] += slope * w[o * 4 + c];
        dw[o * 4 + c] += slope * x.value().f32()[pixel * 4 + c];
      }
  EXPECT_TRUE(near(x.gradient(), dx, 1e-6));
  EXPECT_TRUE(near(maps.parameters()[0]->gradient(), dw, 1e-6));
}

TEST(FeatureMaps, RowsAreMappedAsPixelsAre) {
  const auto narrow = mlp_of_width(2), wide = mlp_of_width(3);
  FeatureMaps maps({{.student = "fc1"}, {.student = "fc2"}}, *narrow, *wide, pixels_of_maps, false, 7);
  ASSERT_EQ(maps.parameters().size(), 1u) << "the logits are as wide";
  maps.parameters()[0]->value().copy_from(Tensor::from({3, 1, 1, 2}, Floats{1, 0, 0, 1, 1, 1}));
  const Variable x(Tensor::from({1, 2}, Floats{2, 3}));
  EXPECT_NEAR(maps.distance(0, x, Tensor::from({1, 3}, Floats{2, 3, 8})).value().item(), 9.0 / 3, 1e-6);
  const Variable z(Tensor::from({1, 3}, Floats{1, 2, 3}));
  EXPECT_NEAR(maps.distance(1, z, Tensor::from({1, 3}, Floats{1, 2, 0})).value().item(), 9.0 / 3, 1e-6);
}

TEST(FeatureMaps, FollowCutsOfTheNetworkOneAfterTheOther) {
  const auto network = mlp_of_width(4), teacher = mlp_of_width(4);
  FeatureMaps maps({{.student = "fc1"}}, *network, *teacher, pixels_of_maps, true, 7);
  Parameter& weight = *maps.parameters()[0];
  make_optimizer({.type = "adam"}, maps.parameters());
  weight.value().copy_from(
      Tensor::from({4, 1, 1, 4}, Floats{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}));
  const auto cut_to = [&](int64_t before, const std::vector<int64_t>& kept) {
    cut(*network,
        {{"fc1.weight", 0, before, kept}, {"fc1.bias", 0, before, kept}, {"fc2.weight", 1, before, kept}});
    maps.follow(network->history);
  };
  cut_to(4, {0, 2, 3});
  EXPECT_EQ(weight.shape(), (Shape{4, 1, 1, 3}));
  cut_to(3, {1, 2});
  ASSERT_EQ(weight.shape(), (Shape{4, 1, 1, 2}));
  EXPECT_EQ(weight.state_of("slot0").shape(), weight.shape()) << "the optimizer's state goes with it";
  EXPECT_TRUE(same_bits(weight.value(), Tensor::from({4, 1, 1, 2}, Floats{2, 3, 6, 7, 10, 11, 14, 15})));
  maps.follow(network->history);
  EXPECT_EQ(weight.shape(), (Shape{4, 1, 1, 2}));
}

TEST(FeatureMaps, WhatCannotBeComparedIsNamed) {
  const Graph network = Network(*resnet_of_width(0.25), pixels_of_maps).graph,
              teacher = Network(*resnet_of_width(0.5), pixels_of_maps).graph;
  const auto refusal = [&](const FeatureConfig& feature) {
    return message_of([&] { check_features({{.student = "layer1"}, feature}, network, teacher); });
  };
  EXPECT_EQ(
      refusal({.student = "layr2"}),
      "distill: features/1: student 'layr2' names no layer, known: bn1, conv1, fc, layer1, layer2, layer3, "
      "did you mean 'layer2'?");
  EXPECT_TRUE(contains(refusal({.student = "layer2", .teacher = "layer9"}),
                       "distill: features/1: teacher 'layer9' names no layer"));
  EXPECT_EQ(refusal({.student = "layer2", .teacher = "layer3"}),
            "distill: features/1: layer2 puts out [4, 4, 8], and the teacher's layer3 [2, 2, 32], expected "
            "to differ "
            "only in the channels, the last axis");
  EXPECT_NO_THROW(check_features({{.student = "layer3"}}, network, teacher));
}

}  // namespace
}  // namespace espalier

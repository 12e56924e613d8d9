#include "espalier/prune/proof.h"

#include <gtest/gtest.h>

#include "prune/zoo.h"

namespace espalier {
namespace {

TEST(Proof, TheCutNetworkIsTheMaskedOne) {
  for (const char* type : {"vgg11", "resnet20", "resnet50", "vit"}) {
    const auto model = random_model(type, 4);
    PruneOptions options = cut_channels();
    options.verify = random_tensor({4, 8, 8, 3}, 5);
    const auto result = prune_to(*model, {Target::speedup, 2}, options);
    ASSERT_TRUE(result.proof);
    EXPECT_GT(result.proof->largest_output, 0.01);
    EXPECT_TRUE(result.proof->says_something());
    EXPECT_LE(result.proof->largest_difference, 1e-3 * result.proof->largest_output) << type;
  }
}

TEST(Proof, ADeadNetworkProvesNothing) {
  const auto model = random_model("vgg11", 4);
  for (Parameter* parameter : model->parameters())
    if (parameter->name == "features.0.weight" || parameter->name == "features.1.weight")
      std::ranges::fill(parameter->value().span<float>(), 0.0f);
  PruneOptions options = cut_channels();
  options.verify = random_tensor({4, 8, 8, 3}, 5);
  const auto proof = prune_to(*model, {Target::speedup, 2}, options).proof.value();
  EXPECT_FALSE(proof.says_something());
  EXPECT_EQ(proof.spread, 0);
  EXPECT_GT(proof.largest_output, 0);
}

TEST(Proof, NotANumberProvesNothing) {
  const auto model = random_model("vgg11", 4);
  std::ranges::fill(model->find("classifier.bias")->value().span<float>(), std::nanf(""));
  PruneOptions options = cut_channels();
  options.verify = random_tensor({4, 8, 8, 3}, 5);
  EXPECT_TRUE(message_of<Error>([&] {
                prune_to(*model, {Target::speedup, 2}, options);
              }).starts_with("prune: the cut network's outputs differ by nan"));
}

TEST(Proof, WhatDiffersFromNothingDoesNotHold) {
  EXPECT_TRUE(CutProof{}.holds());
  EXPECT_FALSE((CutProof{.largest_difference = 1e-9, .largest_output = 0}).holds());
}

TEST(Proof, OneImageHasNoStatisticsToProveBy) {
  const auto model = random_model("vgg11", 4);  // its last maps are 1x1
  PruneOptions options = cut_channels();
  options.verify = random_tensor({1, 8, 8, 3}, 5);
  const auto proof = prune_to(*model, {Target::speedup, 2}, options).proof.value();
  EXPECT_FALSE(proof.by_the_batch);
  EXPECT_FALSE(proof.says_something());
  EXPECT_TRUE(proof.holds());
}

TEST(Proof, WhatItsRunningStatisticsDeadenIsProvedByTheBatchs) {
  const auto model = random_model("vgg11", 4);
  for (Parameter* parameter : model->parameters())
    if (parameter->name.ends_with("running_var"))
      std::ranges::fill(parameter->value().span<float>(), 1e6f);  // as of layers with far larger outputs
  PruneOptions options = cut_channels();
  options.verify = random_tensor({4, 8, 8, 3}, 5);
  const auto proof = prune_to(*model, {Target::speedup, 2}, options).proof.value();
  EXPECT_TRUE(proof.by_the_batch);
  EXPECT_TRUE(proof.says_something());
  EXPECT_LE(proof.largest_difference, 1e-3 * proof.largest_output);
  for (const Parameter* parameter : model->parameters()) {
    if (!parameter->name.ends_with("running_var")) continue;
    EXPECT_EQ(parameter->value().f32()[0], 1e6f) << "as they were";
  }
}

}  // namespace
}  // namespace espalier

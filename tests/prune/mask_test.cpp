#include "espalier/prune/mask.h"

#include <gtest/gtest.h>

#include "espalier/core/kernels.h"
#include "prune/hand_made.h"

namespace espalier {
namespace {

Tensor verdicts(const std::vector<uint8_t>& kept) {
  return Tensor::from({static_cast<int64_t>(kept.size())}, kept);
}

/// One step of the optimizer's own kernel, with every gradient 1 and momentum 0.9.
void train_a_step(Parameter& parameter) {
  const Tensor gradient = Tensor::full(parameter.shape(), 1.0f);
  Tensor& momentum = parameter.state.try_emplace("slot0", Tensor::zeros(parameter.shape())).first->second;
  const UpdateSpan span{parameter.value().f32(), gradient.f32(), parameter.mask.data<uint8_t>(),
                        momentum.f32(),          nullptr,        parameter.value().elements()};
  cpu::sgd_update(&span, 1,
                  {.lr = 1,
                   .momentum = 0.9f,
                   .weight_decay = 0,
                   .gradient_scale = nullptr,
                   .nesterov = false,
                   .first = false});
}

TEST(Mask, HoldsAWeightAndItsStateAtZero) {
  HandMade model;
  Parameter& fc = model.add("fc.weight", {2, 2}, {1, 2, 3, 4});
  fc.state["slot0"] = Tensor::from<float>({2, 2}, std::vector<float>{5, 6, 7, 8});
  fc.state["average"] = Tensor::from<float>({2, 2}, std::vector<float>{1, 1, 1, 1});
  apply_masks(UnitSet(Unit::weight, model.parameters()), verdicts({1, 0, 0, 1}));
  EXPECT_EQ(flags(fc.mask), (std::vector<int>{1, 0, 0, 1}));
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{1, 0, 0, 4}));
  EXPECT_EQ(numbers(fc.state_of("slot0")), (std::vector<float>{5, 0, 0, 8}));
  EXPECT_EQ(numbers(fc.state_of("average")), (std::vector<float>{1, 0, 0, 1}));
  for (int step = 0; step < 3; ++step) {
    train_a_step(fc);
    EXPECT_NE(fc.value().f32()[0], 1);
    EXPECT_EQ(fc.value().f32()[1], 0);
    EXPECT_EQ(fc.value().f32()[2], 0);
    EXPECT_EQ(fc.state_of("slot0").f32()[1], 0);
  }
}

TEST(Mask, OfAFilterDropsAllItsWeightsAndKeepsItsBias) {
  HandMade model;
  Parameter& conv = model.add("conv.weight", {3, 1, 1, 2}, {1, 2, 3, 4, 5, 6});
  const Parameter& bias = model.add("conv.bias", {3}, {7, 8, 9}, Role::bias);
  Parameter& fc = model.add("fc.weight", {2, 1}, {1, 2});
  apply_masks(UnitSet(Unit::filter, {&conv, &fc}), verdicts({1, 0, 1, 0, 1}));
  EXPECT_EQ(numbers(conv.value()), (std::vector<float>{1, 2, 0, 0, 5, 6}));
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{0, 2}));
  EXPECT_EQ(numbers(bias.value()), (std::vector<float>{7, 8, 9}));
  EXPECT_FALSE(bias.mask.defined());
}

TEST(Mask, WhatOneMaskDroppedTheNextDropsToo) {
  HandMade model;
  Parameter& fc = model.add("fc.weight", {2, 2}, {1, 2, 3, 4});
  apply_masks(UnitSet(Unit::weight, {&fc}), verdicts({0, 1, 1, 1}));
  apply_masks(UnitSet(Unit::filter, {&fc}), verdicts({1, 0}));
  EXPECT_EQ(flags(fc.mask), (std::vector<int>{0, 1, 0, 0}));
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{0, 2, 0, 0}));
}

TEST(Mask, ALayerThatLosesNothingGetsNone) {
  HandMade model;
  Parameter& a = model.add("a.weight", {1, 2}, {1, 2});
  Parameter& b = model.add("b.weight", {1, 2}, {1, 2});
  apply_masks(UnitSet(Unit::weight, {&a, &b}), verdicts({1, 1, 1, 0}));
  EXPECT_FALSE(a.mask.defined());
  EXPECT_TRUE(b.mask.defined());
}

TEST(Mask, WhereUnitsAreGivenBackTheyMayLearnAgainFromZero) {
  HandMade model;
  Parameter& fc = model.add("fc.weight", {1, 4}, {1, 2, 3, 4});
  const UnitSet weights(Unit::weight, {&fc});
  apply_masks(weights, verdicts({0, 1, 0, 1}));
  apply_masks(weights, verdicts({1, 0, 0, 1}), true);
  EXPECT_EQ(flags(fc.mask), (std::vector<int>{1, 0, 0, 1}));
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{0, 0, 0, 4}));
  train_a_step(fc);
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{-1, 0, 0, 3}));
  apply_masks(weights, verdicts({1, 1, 1, 1}), true);
  EXPECT_EQ(flags(fc.mask), (std::vector<int>{1, 1, 1, 1}));
}

TEST(Mask, OfOtherUnitsNothingIsGivenBack) {
  HandMade model;
  Parameter& fc = model.add("fc.weight", {2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  fc.set_mask(Tensor::from<uint8_t>({2, 4}, std::vector<uint8_t>{0, 0, 1, 1, 0, 0, 1, 1}));
  const ChannelGroup group{2, {{&fc, 1, true, {0, 1, -1, -1}}}, ""};
  const UnitSet channels(
      std::make_shared<const UnitSet::Channels>(Network(model, any_input), ChannelGraph{{group}, {}}), {1});
  fc.set_mask(Tensor::from<uint8_t>({2, 4}, std::vector<uint8_t>{0, 0, 0, 1, 0, 0, 0, 1}));
  apply_masks(channels, verdicts({1, 0}), true);
  EXPECT_EQ(flags(fc.mask), (std::vector<int>{1, 0, 0, 1, 1, 0, 0, 1}));
}

TEST(Mask, ZeroedUnitsAreNotHeldAndNothingBesideThemIs) {
  HandMade model;
  Parameter& fc = model.add("fc.weight", {1, 4}, {1, 2, 3, 4});
  fc.set_mask(Tensor::from<uint8_t>({1, 4}, std::vector<uint8_t>{0, 1, 1, 1}));
  fc.state["slot0"] = Tensor::full({1, 4}, 5);
  zero_units(UnitSet(Unit::weight, {&fc}), verdicts({1, 0, 1, 1}));
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{0, 0, 3, 4}));
  EXPECT_EQ(numbers(fc.state["slot0"]), (std::vector<float>{5, 5, 5, 5}));
  EXPECT_EQ(flags(fc.mask), (std::vector<int>{0, 1, 1, 1}));
}

TEST(Mask, RemovedItsZerosStayAndMayBeTrained) {
  HandMade model;
  Parameter& fc = model.add("fc.weight", {1, 2}, {1, 2});
  apply_masks(UnitSet(Unit::weight, {&fc}), verdicts({0, 1}));
  remove_masks(model);
  EXPECT_FALSE(fc.mask.defined());
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{0, 2}));
  train_a_step(fc);
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{-1, 1}));
}

}  // namespace
}  // namespace espalier

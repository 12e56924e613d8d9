#include "espalier/prune/channel_score.h"

#include <gtest/gtest.h>

#include <cmath>

#include "prune/hand_made.h"

namespace espalier {
namespace {

/// The worked example of the header: conv [2,1,1,2], norm [2], fc [2,2], with what has no say.
struct Example {
  HandMade model;
  Parameter &conv = model.add("conv.weight", {2, 1, 1, 2}, {1, -2, 3, 0}),
            &bias = model.add("conv.bias", {2}, {50, 60}, Role::bias),
            &scale = model.add("norm.weight", {2}, {4, 1}, Role::scale),
            &shift = model.add("norm.bias", {2}, {70, 80}, Role::shift),
            &mean = model.add("norm.running_mean", {2}, {90, 99}, Role::buffer),
            &fc = model.add("fc.weight", {2, 2}, {1, 1, 1, -1});
  ChannelGroup group{2,
                     {{&conv, 0, true, {0, 1}},
                      {&bias, 0, true, {0, 1}},
                      {&scale, 0, true, {0, 1}},
                      {&shift, 0, true, {0, 1}},
                      {&mean, 0, true, {0, 1}},
                      {&fc, 1, false, {0, 1}}},
                     ""};

  std::vector<float> scores(const std::string& criterion, Reduction reduction = Reduction::mean,
                            Normalizer normalizer = Normalizer::none, const Signals& signals = {}) {
    return score_channels({group}, {criterion_named(criterion), reduction, normalizer}, signals)[0];
  }
};

using Scores = std::vector<float>;

TEST(ChannelScore, TheWorkedExample) {
  EXPECT_EQ(Example().scores("l1", Reduction::mean, Normalizer::max), (Scores{1, 2.0f / 3}));
}

TEST(ChannelScore, Reductions) {  // of 3 3, 4 1 and 2 2
  EXPECT_EQ(Example().scores("l1", Reduction::mean), (Scores{3, 2}));
  EXPECT_EQ(Example().scores("l1", Reduction::sum), (Scores{9, 6}));
  EXPECT_EQ(Example().scores("l1", Reduction::max), (Scores{4, 3}));
  EXPECT_EQ(Example().scores("l1", Reduction::first), (Scores{3, 3}));
}

TEST(ChannelScore, Normalizers) {  // of 3 and 2
  EXPECT_EQ(Example().scores("l1", Reduction::mean, Normalizer::mean), (Scores{1.2f, 0.8f}));
  EXPECT_EQ(Example().scores("l1", Reduction::mean, Normalizer::max), (Scores{1, 2.0f / 3}));
  EXPECT_EQ(Example().scores("l1", Reduction::mean, Normalizer::standardize), (Scores{1, 0}));
  EXPECT_EQ(Example().scores("l1", Reduction::first, Normalizer::standardize), (Scores{0, 0}));  // equals
}

TEST(ChannelScore, Criteria) {
  // Squares: conv 5 9, norm 16 1, fc 2 2.
  EXPECT_EQ(Example().scores("group_norm", Reduction::sum), (Scores{23, 12}));
  EXPECT_EQ(Example().scores("l2", Reduction::sum),
            (Scores{static_cast<float>(std::sqrt(5.0)) + 4 + static_cast<float>(std::sqrt(2.0)),
                    3 + 1 + static_cast<float>(std::sqrt(2.0))}));
  EXPECT_EQ(Example().scores("lamp", Reduction::sum), (Scores{1, 12.0f / 35}));
  EXPECT_EQ(Example().scores("bn_scale"), (Scores{4, 1}));
  EXPECT_EQ(Example().scores("fpgm"), (Scores{std::sqrt(8.0f), std::sqrt(8.0f)}));  // (1 -2) to (3 0)
}

TEST(ChannelScore, SlimmingRanksScalesOverAllLayersAsTheyAre) {
  Example one, ten_times;
  ten_times.scale.value() = Tensor::from({2}, std::vector<float>{-40, 10});
  const std::vector<ChannelGroup> groups{one.group, ten_times.group};
  EXPECT_EQ(score_channels(groups, {criterion_named("bn_scale")}), (std::vector<Scores>{{4, 1}, {40, 10}}));
  EXPECT_EQ(score_channels(groups, {.criterion = criterion_named("bn_scale"), .normalizer = Normalizer::max}),
            (std::vector<Scores>{{1, 0.25f}, {1, 0.25f}}));
}

/// Layers a and b side by side, b without a norm, and c, which reads both channel by channel.
TEST(ChannelScore, AMeanIsOfTheMembersThatHaveTheChannel) {
  HandMade model;
  Parameter &a = model.add("a.weight", {2, 2}, {1, 2, 3, 4}),
            &b = model.add("b.weight", {2, 2}, {5, 5, 6, 8}),
            &an = model.add("an.weight", {2}, {6, 2}, Role::scale),
            &c = model.add("c.weight", {4, 1}, {9, 9, 8, 8});
  const ChannelGroup group{
      4,
      {{&a, 0, true, {0, 1}}, {&an, 0, true, {0, 1}}, {&b, 0, true, {2, 3}}, {&c, 0, true, {0, 1, 2, 3}}},
      ""};
  const auto scores = [&](const char* criterion, Reduction reduction) {
    return score_channels({group}, {criterion_named(criterion), reduction, Normalizer::none})[0];
  };
  EXPECT_EQ(scores("l1", Reduction::mean),
            (Scores{(3 + 6 + 9) / 3, (7 + 2 + 9) / 3, (10 + 8) / 2, (14 + 8) / 2}));
  EXPECT_EQ(scores("l1", Reduction::first), (Scores{3, 7, 10, 14}));
  EXPECT_EQ(scores("l1", Reduction::max), (Scores{9, 9, 10, 14}));
  const float in_a = std::sqrt(8.0f), in_b = std::sqrt(10.0f);  // each to its layer's other filter
  EXPECT_EQ(scores("fpgm", Reduction::first), (Scores{in_a, in_a, in_b, in_b}));
  EXPECT_EQ(message_of<Error>([&] { scores("bn_scale", Reduction::mean); }),
            "prune: criterion bn_scale goes by batch norms, and there is none behind b");
}

TEST(ChannelScore, OfWhatDataSay) {
  Example example;
  Signals signals;
  signals.tensors[&example.conv] = Tensor::from({2, 1, 1, 2}, std::vector<float>{1, 1, -1, 7});
  signals.tensors[&example.scale] = Tensor::from({2}, std::vector<float>{0.5f, 0});
  signals.tensors[&example.fc] = Tensor::from({2, 2}, std::vector<float>{0, 1, 2, 3});
  // w^2 g2: conv 1 + 4, -9 + 0; norm 8, 0; fc 0 + 2, 1 + 3; the sign is the test's alone
  EXPECT_EQ(example.scores("taylor", Reduction::sum, Normalizer::none, signals), (Scores{15, -5}));
  EXPECT_EQ(example.scores("taylor", Reduction::max, Normalizer::none, signals), (Scores{8, 4}));
  // w^2 h / 2: conv (1 + 4) / 2, -9 / 2 + 0
  EXPECT_EQ(example.scores("obd", Reduction::first, Normalizer::none, signals), (Scores{2.5f, -4.5f}));
  signals.tensors.erase(&example.fc);
  EXPECT_EQ(message_of<Error>([&] { example.scores("taylor", Reduction::sum, Normalizer::none, signals); }),
            "prune: taylor has no gradient of fc.weight");
}

TEST(ChannelScore, AChannelMayBeSeveralColumns) {
  HandMade model;
  Parameter& fc = model.add("fc.weight", {2, 6}, {1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60});
  // Behind a flatten of two pixels with three channels; the middle one is another group's.
  const ChannelGroup group{2, {{&fc, 1, false, {0, -1, 1, 0, -1, 1}}}, ""};
  const auto scores = score_channels({group}, {criterion_named("l1"), Reduction::sum, Normalizer::none});
  EXPECT_EQ(scores[0], (Scores{1 + 4 + 10 + 40, 3 + 6 + 30 + 60}));
}

TEST(ChannelScore, RandomIsTheSeedsAndEachGroupHasItsOwn) {
  Example one;
  const std::vector<ChannelGroup> groups{one.group, one.group};
  const auto draw = [&](uint64_t seed) {
    return score_channels(groups, {criterion_named("random"), Reduction::mean, Normalizer::none, seed});
  };
  EXPECT_EQ(draw(3), draw(3));
  EXPECT_NE(draw(3), draw(4));
  EXPECT_NE(draw(3)[0], draw(3)[1]);
}

TEST(ChannelScore, WhatIsFixedIsNotLookedAt) {
  Example example;
  example.group.fixed = "the network's output";
  EXPECT_EQ(example.scores("l1"), (Scores{0, 0}));
}

TEST(ChannelScore, WhatCannotBeScoredIsNamed) {
  Example example;
  example.group.members.erase(example.group.members.begin() + 2);  // no scale
  EXPECT_EQ(message_of<Error>([&] { example.scores("bn_scale"); }),
            "prune: criterion bn_scale goes by batch norms, and there is none behind conv");
  example.conv.value().f32()[2] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(message_of<Error>([&] { example.scores("l1"); }),
            "conv.weight: channel 1 scores inf by l1, expected a finite score");
}

}  // namespace
}  // namespace espalier

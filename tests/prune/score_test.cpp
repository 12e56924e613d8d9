#include "espalier/prune/score.h"

#include <gtest/gtest.h>

#include <cmath>

#include "prune/hand_made.h"

namespace espalier {
namespace {

/// [groups][channels], of the groups of a network that is none but them.
std::vector<std::vector<float>> score_channels(const std::vector<ChannelGroup>& groups,
                                               const Scoring& scoring, const Signals& gradients = {}) {
  HandMade none;
  const UnitSet units(
      std::make_shared<const UnitSet::Channels>(Network(none, any_input), ChannelGraph{groups, {}}),
      std::vector<char>(groups.size(), 1));
  const std::vector<float> all = numbers(score_units(units, scoring, gradients, true));
  std::vector<std::vector<float>> scores;
  for (const UnitGroup& group : units.groups)
    scores.emplace_back(all.begin() + group.first, all.begin() + group.first + group.count);
  return scores;
}

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
                            Normalizer normalizer = Normalizer::none, const Signals& gradients = {}) {
    return score_channels({group}, {criteria().named(criterion), reduction, normalizer}, gradients)[0];
  }
};

using Scores = std::vector<float>;

TEST(Score, TheWorkedExample) {
  EXPECT_EQ(Example().scores("l1", Reduction::mean, Normalizer::max), (Scores{1, 2.0f / 3}));
}

TEST(Score, Reductions) {  // of 3 3, 4 1 and 2 2
  EXPECT_EQ(Example().scores("l1", Reduction::mean), (Scores{3, 2}));
  EXPECT_EQ(Example().scores("l1", Reduction::sum), (Scores{9, 6}));
  EXPECT_EQ(Example().scores("l1", Reduction::max), (Scores{4, 3}));
  EXPECT_EQ(Example().scores("l1", Reduction::first), (Scores{3, 3}));
}

TEST(Score, Normalizers) {  // of 3 and 2
  EXPECT_EQ(Example().scores("l1", Reduction::mean, Normalizer::mean), (Scores{1.2f, 0.8f}));
  EXPECT_EQ(Example().scores("l1", Reduction::mean, Normalizer::max), (Scores{1, 2.0f / 3}));
  EXPECT_EQ(Example().scores("l1", Reduction::mean, Normalizer::standardize), (Scores{1, 0}));
  EXPECT_EQ(Example().scores("l1", Reduction::first, Normalizer::standardize), (Scores{0, 0}));  // equals
}

TEST(Score, Criteria) {
  // Squares: conv 5 9, norm 16 1, fc 2 2.
  EXPECT_EQ(Example().scores("group_norm", Reduction::sum), (Scores{23, 12}));
  EXPECT_EQ(Example().scores("l2", Reduction::sum),
            (Scores{static_cast<float>(std::sqrt(5.0)) + 4 + static_cast<float>(std::sqrt(2.0)),
                    3 + 1 + static_cast<float>(std::sqrt(2.0))}));
  EXPECT_EQ(Example().scores("lamp", Reduction::sum), (Scores{1, 12.0f / 35}));
  EXPECT_EQ(Example().scores("bn_scale"), (Scores{4, 1}));
  EXPECT_EQ(Example().scores("fpgm"), (Scores{std::sqrt(8.0f), std::sqrt(8.0f)}));  // (1 -2) to (3 0)
}

TEST(Score, SlimmingRanksScalesOverAllLayersAsTheyAre) {
  Example one, ten_times;
  ten_times.scale.value() = Tensor::from({2}, std::vector<float>{-40, 10});
  const std::vector<ChannelGroup> groups{one.group, ten_times.group};
  EXPECT_EQ(score_channels(groups, {criteria().named("bn_scale")}), (std::vector<Scores>{{4, 1}, {40, 10}}));
  EXPECT_EQ(
      score_channels(groups, {.criterion = criteria().named("bn_scale"), .normalizer = Normalizer::max}),
      (std::vector<Scores>{{1, 0.25f}, {1, 0.25f}}));
}

/// Layers a and b side by side, b without a norm, and c, which reads both channel by channel.
TEST(Score, AMeanIsOfTheMembersThatHaveTheChannel) {
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
    return score_channels({group}, {criteria().named(criterion), reduction, Normalizer::none})[0];
  };
  EXPECT_EQ(scores("l1", Reduction::mean),
            (Scores{(3 + 6 + 9) / 3, (7 + 2 + 9) / 3, (10 + 8) / 2, (14 + 8) / 2}));
  EXPECT_EQ(scores("l1", Reduction::first), (Scores{3, 7, 10, 14}));
  EXPECT_EQ(scores("l1", Reduction::max), (Scores{9, 9, 10, 14}));
  const float in_a = std::sqrt(8.0f), in_b = std::sqrt(10.0f);  // each to its layer's other filter
  EXPECT_EQ(scores("fpgm", Reduction::first), (Scores{in_a, in_a, in_b, in_b}));
  EXPECT_EQ(message_of<Error>([&] { scores("bn_scale", Reduction::mean); }),
            "prune: criterion bn_scale goes by batch norms, and there is none after b");
}

TEST(Score, OfWhatDataSay) {
  Example example;
  Signals squares;
  squares.of_parameters[&example.conv] = Tensor::from({2, 1, 1, 2}, std::vector<float>{1, 1, -1, 7});
  squares.of_parameters[&example.scale] = Tensor::from({2}, std::vector<float>{0.5f, 0});
  squares.of_parameters[&example.fc] = Tensor::from({2, 2}, std::vector<float>{0, 1, 2, 3});
  // w^2 g2: conv 1 + 4, -9 + 0; norm 8, 0; fc 0 + 2, 1 + 3; the sign is only the test's
  EXPECT_EQ(example.scores("taylor", Reduction::sum, Normalizer::none, squares), (Scores{15, -5}));
  EXPECT_EQ(example.scores("taylor", Reduction::max, Normalizer::none, squares), (Scores{8, 4}));
  // w^2 h / 2: conv (1 + 4) / 2, -9 / 2 + 0
  EXPECT_EQ(example.scores("obd", Reduction::first, Normalizer::none, squares), (Scores{2.5f, -4.5f}));
  squares.of_parameters.erase(&example.fc);
  EXPECT_EQ(message_of<Error>([&] { example.scores("taylor", Reduction::sum, Normalizer::none, squares); }),
            "prune: taylor looks at the squares of batches' dL/dw, and fc.weight has none of that");
}

TEST(Score, AChannelMayBeSeveralColumns) {
  HandMade model;
  Parameter& conv = model.add("conv.weight", {2, 1}, {0, 0});
  Parameter& fc = model.add("fc.weight", {2, 6}, {1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60});
  // After a flatten of two pixels with three channels; the middle one is another group's.
  const ChannelGroup group{2, {{&conv, 0, true, {0, 1}}, {&fc, 1, false, {0, -1, 1, 0, -1, 1}}}, ""};
  const auto scores = score_channels({group}, {criteria().named("l1"), Reduction::sum, Normalizer::none});
  EXPECT_EQ(scores[0], (Scores{1 + 4 + 10 + 40, 3 + 6 + 30 + 60}));
}

TEST(Score, RandomIsTheSeedsAndEachGroupHasItsOwn) {
  Example one;
  const std::vector<ChannelGroup> groups{one.group, one.group};
  const auto draw = [&](uint64_t seed) {
    return score_channels(groups, {criteria().named("random"), Reduction::mean, Normalizer::none, seed});
  };
  EXPECT_EQ(draw(3), draw(3));
  EXPECT_NE(draw(3), draw(4));
  EXPECT_NE(draw(3)[0], draw(3)[1]);
}

TEST(Score, WhatCannotBeScoredIsNamed) {
  Example example;
  example.group.members.erase(example.group.members.begin() + 2);  // no scale
  EXPECT_EQ(message_of<Error>([&] { example.scores("bn_scale"); }),
            "prune: criterion bn_scale goes by batch norms, and there is none after conv");
  example.conv.value().f32()[2] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(message_of<Error>([&] { example.scores("l1"); }),
            "conv.weight: channel 1 scores inf by l1, expected a finite score");
}

/// Two layers: conv [3,1,2,4] and fc [2,4]; and the sums of w^2 g2 and w^2 h / 2 by definition.
TEST(Score, OfEveryUnitIsTheSumOverTheNumbersThatItsMapNames) {
  HandMade model;
  std::vector<float> w(24), v(8), g(24), k(8);
  for (size_t i = 0; i < 24; ++i) w[i] = 0.5f * static_cast<float>(i) - 5, g[i] = static_cast<float>(i % 5);
  for (size_t i = 0; i < 8; ++i) v[i] = 3 - static_cast<float>(i), k[i] = static_cast<float>(i % 3);
  Parameter &conv = model.add("conv.weight", {3, 1, 2, 4}, w), &fc = model.add("fc.weight", {2, 4}, v);
  Signals gradients;
  gradients.of_parameters[&conv] = Tensor::from({3, 1, 2, 4}, g);
  gradients.of_parameters[&fc] = Tensor::from({2, 4}, k);
  for (const Unit unit : {Unit(Unit::weight), Unit(Unit::filter), Unit(Unit::column), Unit(Unit::kernel),
                          Unit::block_of(2, 3), Unit::n_of(2, 4), Unit(Unit::layer)}) {
    SCOPED_TRACE(unit.name());
    const UnitSet units(unit, model.parameters());
    std::vector<double> l1(static_cast<size_t>(units.count)), taylor(l1.size()), obd(l1.size());
    for (size_t layer = 0; layer < 2; ++layer)
      units.groups[layer].members[0].each_run([&](int64_t u, int64_t offset, int64_t length) {
        for (int64_t i = offset; i < offset + length; ++i) {
          const double x = layer ? v[i] : w[i], s = layer ? k[i] : g[i];
          const auto at = static_cast<size_t>(units.groups[layer].first + u);
          l1[at] += std::abs(x);
          taylor[at] += x * x * s;
          obd[at] += x * x * s / 2;
        }
      });
    const auto scores = [&](const char* criterion) {
      return numbers(score_units(units, {.criterion = criteria().named(criterion)}, gradients));
    };
    EXPECT_EQ(scores("l1"), std::vector<float>(l1.begin(), l1.end()));
    EXPECT_EQ(scores("taylor"), std::vector<float>(taylor.begin(), taylor.end()));
    EXPECT_EQ(scores("obd"), std::vector<float>(obd.begin(), obd.end()));
  }
}

TEST(Score, FpgmOfColumnsIsTheSumOfTheirDistances) {
  HandMade model;
  model.add("fc.weight", {2, 3}, {0, 3, 0, 0, 4, 1});  // columns (0 0), (3 4), (0 1)
  const UnitSet columns(Unit::column, model.parameters());
  const float far = std::sqrt(18.0f);
  EXPECT_EQ(numbers(score_units(columns, {.criterion = criteria().named("fpgm")})),
            (Scores{5 + 1, 5 + far, 1 + far}));
}

TEST(Score, AUnitIsPrunedWhenMasksDropAllOfIt) {
  Example example;
  const auto pruned = [&] { return pruned_units(UnitSet(Unit::filter, {&example.conv}).groups[0]); };
  EXPECT_TRUE(pruned().empty());
  example.conv.set_mask(Tensor::from<uint8_t>({2, 1, 1, 2}, std::vector<uint8_t>{0, 0, 0, 1}));
  EXPECT_EQ(pruned(), (std::vector<char>{1, 0}));
  EXPECT_EQ(example.scores("l1", Reduction::first), (Scores{0, 0}))
      << "a channel has a bias and readers, too";
  for (Parameter* p : {&example.bias, &example.scale, &example.shift})
    p->set_mask(Tensor::from<uint8_t>({2}, std::vector<uint8_t>{0, 1}));
  example.fc.set_mask(Tensor::from<uint8_t>({2, 2}, std::vector<uint8_t>{0, 1, 0, 1}));
  EXPECT_EQ(example.scores("l1", Reduction::first)[0], pruned_score);
}

TEST(Score, WhereUnitsAreGivenBackWhatIsPrunedIsScoredLikeOthers) {
  HandMade model;
  model.add("fc.weight", {1, 2}, {3, 4}).set_mask(Tensor::from<uint8_t>({1, 2}, std::vector<uint8_t>{0, 1}));
  const UnitSet units(Unit::weight, model.parameters());
  EXPECT_EQ(numbers(score_units(units, {.criterion = criteria().named("l1")})), (Scores{pruned_score, 4}));
  EXPECT_EQ(numbers(score_units(units, {.criterion = criteria().named("l1"), .gives_back = true})),
            (Scores{0, 4}));
}

}  // namespace
}  // namespace espalier

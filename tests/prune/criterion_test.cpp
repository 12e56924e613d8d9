#include "espalier/prune/criterion.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "espalier/prune/score.h"
#include "prune/hand_made.h"

namespace espalier {
namespace {

std::vector<float> scores(HandMade& model, Unit unit, const std::string& criterion, uint64_t seed = 0,
                          const Signals& squares = {}) {
  return numbers(score_units(UnitSet(unit, model.parameters()),
                             {.criterion = criteria().named(criterion), .seed = seed}, squares));
}

TEST(Criterion, TaylorIsTheSquareOfWeightTimesGradient) {
  HandMade model;
  Parameter& fc = model.add("fc.weight", {2, 2}, {1, -2, 3, 0});
  Signals squares;
  squares.of_parameters[&fc] = Tensor::from({2, 2}, std::vector<float>{4, 1, 0.25f, 100});
  EXPECT_EQ(scores(model, Unit::weight, "taylor", 0, squares), (std::vector<float>{4, 4, 2.25f, 0}));
  EXPECT_EQ(scores(model, Unit::filter, "taylor", 0, squares), (std::vector<float>{8, 2.25f}));
}

TEST(Criterion, WhatARowForgetsToAskForIsFoundOut) {
  HandMade model;
  model.add("fc.weight", {1, 2}, {1, 2});
  Criterion forgetful = criteria().named("taylor");
  forgetful.needs = Needs::weights;
  const std::string found = message_of<Error>(
      [&] { score_units(UnitSet(Unit::weight, model.parameters()), {.criterion = forgetful}); });
  EXPECT_NE(found.find("nan"), std::string::npos) << found;
  Criterion vague = criteria().named("taylor");
  vague.batches = 0;
  EXPECT_EQ(why_not(vague, Unit::weight),
            "criterion taylor looks at data, and its row does not say at how many batches");
}

TEST(Criterion, OfASingleWeightL1AndL2AreItsMagnitude) {
  HandMade model;
  model.add("a.weight", {2, 2}, {3, -4, 0.1f, -0.0f});
  model.add("b.weight", {1, 2}, {-1e-30f, 1e30f});  // whose squares are no f32
  const std::vector<float> magnitudes = {3, 4, 0.1f, 0, 1e-30f, 1e30f};
  EXPECT_EQ(scores(model, Unit::weight, "l1"), magnitudes);
  EXPECT_EQ(scores(model, Unit::weight, "l2"), magnitudes);
}

TEST(Criterion, OfAFilterL1IsTheSumAndL2TheNorm) {
  HandMade model;
  model.add("conv.weight", {2, 1, 2, 1}, {3, -4, -1, 1});
  model.add("fc.weight", {1, 4}, {1, -1, 1, -1});
  EXPECT_EQ(scores(model, Unit::filter, "l1"), (std::vector<float>{7, 2, 4}));
  EXPECT_EQ(scores(model, Unit::filter, "l2"), (std::vector<float>{5, std::sqrt(2.0f), 2}));
}

TEST(Criterion, RandomDependsOnSeedAndPlaceAlone) {
  HandMade model, other;
  model.add("a.weight", {2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  other.add("b.weight", {1, 4}, std::vector<float>(4, 0.0f));
  other.add("c.weight", {2, 2}, std::vector<float>(4, 0.0f));
  const auto first = scores(model, Unit::weight, "random", 7);
  EXPECT_EQ(scores(other, Unit::weight, "random", 7), first);
  EXPECT_NE(scores(model, Unit::weight, "random", 8), first);
  EXPECT_EQ(std::set<float>(first.begin(), first.end()).size(), 8u);
  for (const float score : first) EXPECT_TRUE(score >= 0 && score < 1) << score;
}

TEST(Criterion, WhatIsPrunedScoresBelowAllOthers) {
  HandMade model;
  model.add("fc.weight", {3, 2}, {9, 9, 1, 1, 2, 2})
      .set_mask(Tensor::from<uint8_t>({3, 2}, std::vector<uint8_t>{0, 0, 1, 1, 0, 1}));
  EXPECT_EQ(scores(model, Unit::filter, "l1"), (std::vector<float>{pruned_score, 2, 2}));
  EXPECT_EQ(scores(model, Unit::weight, "l1"),
            (std::vector<float>{pruned_score, pruned_score, 1, 1, pruned_score, 2}));
  EXPECT_EQ(scores(model, Unit::filter, "random")[0], pruned_score);
}

TEST(Criterion, AScoreOnManyThreadsIsTheScoreOnOne) {  // parts begin in the middle of a layer
  HandMade model;
  std::vector<float> values(3 * 40000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 977) - 488.0f;
  model.add("a.weight", {40000, 3}, values);
  const auto by_row = scores(model, Unit::filter, "l1");
  for (size_t i = 0; i < by_row.size(); ++i)
    ASSERT_EQ(by_row[i], std::abs(values[3 * i]) + std::abs(values[3 * i + 1]) + std::abs(values[3 * i + 2]))
        << i;
  HandMade pieces;
  for (int i = 0; i < 120; ++i)
    pieces.add(join("a", i, ".weight"), {1000, 1}, std::vector<float>(1000, 1.0f));
  EXPECT_EQ(scores(model, Unit::weight, "random"), scores(pieces, Unit::weight, "random"));
}

TEST(Criterion, AWeightThatIsNoNumberIsAnError) {
  HandMade model;
  model.add("fc1.weight", {1, 2}, {1, 2});
  model.add("fc2.weight", {2, 2}, {1, 2, std::numeric_limits<float>::quiet_NaN(), 4});
  EXPECT_EQ(message_of<Error>([&] { scores(model, Unit::weight, "l2"); }),
            "fc2.weight: weight 2 scores nan by l2, expected a finite score");
  EXPECT_EQ(message_of<Error>([&] { scores(model, Unit::filter, "l1"); }),
            "fc2.weight: filter 1 scores nan by l1, expected a finite score");
}

TEST(Criterion, WhereItSaysNothingThatIsSaid) {
  const auto why = [](const char* name, Unit unit) { return why_not(criteria().named(name), unit); };
  const std::string channels =
      "criterion bn_scale goes by the scales of batch norms, which are of channels: expected unit channel";
  const std::string distances =
      "criterion fpgm goes by the distances of a layer's filters from each other: expected unit filter, "
      "column or "
      "channel";
  const std::string others =
      "criterion lamp compares units with the others of their layer, of which there are none: expected "
      "another unit";
  for (const Unit unit : {Unit(Unit::weight), Unit(Unit::filter), Unit(Unit::column), Unit(Unit::kernel),
                          Unit::block_of(2, 2), Unit::n_of(2, 4), Unit(Unit::layer), Unit(Unit::channel)}) {
    const bool channel = unit.kind == Unit::channel;
    const bool distant = channel || unit.kind == Unit::filter || unit.kind == Unit::column;
    for (const char* name : {"random", "l1", "l2", "group_norm", "taylor", "obd"})
      EXPECT_EQ(why(name, unit), "");
    EXPECT_EQ(why("bn_scale", unit), channel ? "" : channels);
    EXPECT_EQ(why("fpgm", unit), distant ? "" : distances);
    EXPECT_EQ(why("lamp", unit), unit.kind == Unit::layer ? others : "");
  }
  HandMade model;
  model.add("fc.weight", {1, 2}, {1, 2});
  EXPECT_EQ(message_of<UsageError>([&] { scores(model, Unit::weight, "fpgm"); }), "prune: " + distances);
}

TEST(Criterion, EachHasANameALineOfHelpAndAPaper) {
  EXPECT_GE(criteria().names().size(), 3u);
  for (const Criterion& criterion : criteria()) {
    EXPECT_EQ(criteria().named(criterion.name).score, criterion.score);
    EXPECT_GT(criterion.help.size(), 10u) << criterion.name;
    EXPECT_EQ(criterion.help.find('\n'), std::string_view::npos) << criterion.name;
    EXPECT_NE(criterion.paper.find("20"), std::string_view::npos) << criterion.name;  // a year
  }
  const std::string message = message_of<UsageError>([] { criteria().named("l3"); });
  EXPECT_EQ(message, "criterion: no type 'l3', did you mean 'l1'?");
}

TEST(Criterion, ScoresBelowZeroKeepTheirOrderUnderANormalizer) {
  const auto normalized = [](Normalizer by) {
    std::vector<float> scores{-3, -1, pruned_score, 1};
    normalize(scores, by);
    return scores;
  };
  EXPECT_EQ(normalized(Normalizer::mean),
            (std::vector<float>{-3 / (5 / 3.0f), -1 / (5 / 3.0f), pruned_score, 1 / (5 / 3.0f)}));
  EXPECT_EQ(normalized(Normalizer::max), (std::vector<float>{-1, -1 / 3.0f, pruned_score, 1 / 3.0f}));
  EXPECT_EQ(normalized(Normalizer::standardize), (std::vector<float>{0, 0.5f, pruned_score, 1}));
}

}  // namespace
}  // namespace espalier

#include "espalier/prune/pruner.h"

#include <gtest/gtest.h>

#include <cmath>

#include "espalier/core/random.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/network.h"
#include "prune/hand_made.h"

namespace espalier {
namespace {

int64_t zeros(const Parameter& parameter) { return parameter.value().elements() - parameter.nonzeros(); }

TEST(Pruner, TakesTheSmallestMagnitudesOfAllLayers) {
  HandMade model;
  const Parameter& a = model.add("a.weight", {2, 2}, {1, -5, 2, 6});
  const Parameter& bias = model.add("a.bias", {2}, {0.1f, 0.1f}, Role::bias);
  const Parameter& b = model.add("b.weight", {1, 4}, {-3, 7, 8, 9});
  const PruneResult result = prune(model, {.cut = {Cut::sparsity, 0.375}});
  EXPECT_EQ(numbers(a.value()), (std::vector<float>{0, -5, 0, 6}));
  EXPECT_EQ(numbers(b.value()), (std::vector<float>{0, 7, 8, 9}));
  EXPECT_EQ(numbers(bias.value()), (std::vector<float>{0.1f, 0.1f}));
  ASSERT_EQ(result.layers.size(), 2u);
  EXPECT_EQ(result.layers[0].name, "a");
  EXPECT_EQ(result.layers[0].pruned, 2);
  EXPECT_EQ(result.layers[1].pruned, 1);
  EXPECT_EQ(result.total().units, 8);
  EXPECT_EQ(result.total().pruned, 3);
  EXPECT_EQ(result.total().already, 0);
}

TEST(Pruner, DoesWhatTheReadmesExampleSays) {  // its cut by sparsity, scope global, is the test above
  const auto pruned = [](const PruneOptions& options) {
    HandMade model;
    const Parameter& a = model.add("a.weight", {2, 2}, {1, -5, 2, 6});
    const Parameter& b = model.add("b.weight", {1, 4}, {-3, 7, 8, 9});
    prune(model, options);
    return std::pair(numbers(a.value()), numbers(b.value()));
  };
  using Layers = std::pair<std::vector<float>, std::vector<float>>;
  EXPECT_EQ(pruned({.scope = Scope::layer, .cut = {Cut::sparsity, 0.375}}),
            (Layers{{0, -5, 0, 6}, {0, 0, 8, 9}}));
  EXPECT_EQ(pruned({.cut = {Cut::quantile, 0.5}}), (Layers{{0, 0, 0, 6}, {0, 7, 8, 9}}));
}

TEST(Pruner, LeavesExactlyTheAskedSparsityInAModel) {
  const auto model = make_model({.type = "lenet300"}, 0);
  prune(*model, {.cut = {Cut::sparsity, 0.3}});
  const Network network(*model, {28, 28, 1});
  EXPECT_EQ(network.totals.weights, 784 * 300 + 300 * 100 + 100 * 10);
  EXPECT_EQ(network.totals.weight_zeros, 79860);  // 0.3 of 266,200
  EXPECT_EQ(network.totals.parameters - network.totals.nonzeros, 79860);
}

TEST(Pruner, TakesHalfTheFiltersOfOneConvolutionByL2) {
  HandMade model;
  const Parameter& conv1 = model.add("conv1.weight", {2, 1, 1, 2}, {1, 1, 2, 2});
  // By l1 the first filter (4.4) would stay and the last (4) go; by l2 (3.11 against 4) it is the other way.
  const Parameter& conv2 = model.add("conv2.weight", {4, 1, 1, 2}, {2.2f, 2.2f, 1, 0, -9, 9, 0, 4});
  const PruneResult result = prune(model, {.unit = Unit::row,
                                           .criterion = criterion_named("l2"),
                                           .scope = Scope::layer,
                                           .cut = {Cut::sparsity, 0.5},
                                           .include = {"conv2"}});
  EXPECT_EQ(numbers(conv1.value()), (std::vector<float>{1, 1, 2, 2}));
  EXPECT_EQ(numbers(conv2.value()), (std::vector<float>{0, 0, 0, 0, -9, 9, 0, 4}));
  EXPECT_EQ(result.total().units, 4);
  EXPECT_EQ(result.total().pruned, 2);
}

TEST(Pruner, AgainAtTheSameSparsityTakesNothingMore) {
  HandMade model;
  const Parameter& fc = model.add("fc.weight", {1, 4}, {4, 3, 2, 1});
  const PruneOptions half{.cut = {Cut::sparsity, 0.5}};
  prune(model, half);
  const PruneResult again = prune(model, half);
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{4, 3, 0, 0}));
  EXPECT_EQ(again.total().pruned, 2);
  EXPECT_EQ(again.total().already, 2);
}

/// Two layers of rows, the second's a hundred times as large.
struct TwoSizes {
  HandMade model;
  const Parameter& a = model.add("a.weight", {4, 1}, {1, 2, 3, 4});
  const Parameter& b = model.add("b.weight", {2, 1}, {100, 200});
};
const PruneOptions third_of_rows{.unit = Unit::row, .cut = {Cut::sparsity, 1.0 / 3}};

TEST(Pruner, RanksRowsOfAllLayersByTheirShareOfTheLayersMean) {
  TwoSizes by_mean;  // 0.4 0.8 1.2 1.6, and 0.67 1.33
  prune(by_mean.model, third_of_rows);
  EXPECT_EQ(numbers(by_mean.a.value()), (std::vector<float>{0, 2, 3, 4}));
  EXPECT_EQ(numbers(by_mean.b.value()), (std::vector<float>{0, 200}));
  TwoSizes as_they_are;
  PruneOptions options = third_of_rows;
  options.normalizer = Normalizer::none;
  prune(as_they_are.model, options);
  EXPECT_EQ(numbers(as_they_are.a.value()), (std::vector<float>{0, 0, 3, 4}));
  EXPECT_EQ(numbers(as_they_are.b.value()), (std::vector<float>{100, 200}));
  TwoSizes below_three;  // a threshold is of the scores as the criterion gives them
  options = third_of_rows;
  options.cut = {Cut::threshold, 3};
  prune(below_three.model, options);
  EXPECT_EQ(numbers(below_three.a.value()), (std::vector<float>{0, 0, 3, 4}));
  EXPECT_EQ(numbers(below_three.b.value()), (std::vector<float>{100, 200}));
}

TEST(Pruner, WhatIsPrunedHasNoShareInTheMean) {
  TwoSizes two;
  PruneOptions options = third_of_rows;
  prune(two.model, options);  // left: 2 3 4, whose shares are 0.67 1 1.33, and 200 with 1
  options.cut.value = 0.5;
  prune(two.model, options);
  EXPECT_EQ(numbers(two.a.value()), (std::vector<float>{0, 0, 3, 4}));
  EXPECT_EQ(numbers(two.b.value()), (std::vector<float>{0, 200}));
}

TEST(Pruner, RowsOfTheOutputStayUnlessIncludedByName) {
  const auto pruned_of_b = [](PruneOptions options) {
    TwoSizes two;
    options.output = {"b"};
    options.scope = Scope::layer;
    options.cut.value = 0.5;
    prune(two.model, options);
    return zeros(two.b);
  };
  EXPECT_EQ(pruned_of_b({.unit = Unit::row}), 0);
  EXPECT_EQ(pruned_of_b({.unit = Unit::row, .include = {"*"}}), 0);
  EXPECT_EQ(pruned_of_b({.unit = Unit::row, .include = {"b"}}), 1);
  EXPECT_EQ(pruned_of_b({.unit = Unit::weight}), 1);
  HandMade one;
  one.add("b.weight", {2, 1}, {1, 2});
  PruneOptions options = third_of_rows;
  options.output = {"b"};
  EXPECT_EQ(message_of<Error>([&] { prune(one, options); }),
            "prune: nothing to prune: the rows of the network's output, b, stay unless include names it");
}

TEST(Pruner, ALayerIsNotEmptiedUnlessThatIsAllowed) {
  TwoSizes two;
  const PruneOptions all_of_a{.cut = {Cut::sparsity, 4.0 / 6}};
  EXPECT_EQ(message_of<Error>([&] { prune(two.model, all_of_a); }),
            "prune: nothing would be left of a, all 4 weights of which would go; \"allow_empty\": true lets "
            "them");
  EXPECT_EQ(zeros(two.a), 0);
  PruneOptions allowed = all_of_a;
  allowed.allow_empty = true;
  prune(two.model, allowed);
  EXPECT_EQ(zeros(two.a), 4);
  EXPECT_EQ(prune(two.model, all_of_a).total().pruned, 4) << "it was empty before";
}

TEST(CheckPrune, FindsWhatNoScoresCanMend) {
  TwoSizes two;
  const auto message = [&](const PruneOptions& options) {
    return message_of<Error>([&] { check_prune(two.model, options); });
  };
  EXPECT_EQ(
      message({.unit = Unit::row, .scope = Scope::layer, .cut = {Cut::sparsity, 0.75}}),
      "prune: nothing would be left of b, all 2 rows of which would go; \"allow_empty\": true lets them");
  EXPECT_EQ(message({.cut = {Cut::sparsity, 1}}),
            "prune: nothing would be left of a, all 4 weights of which would go; \"allow_empty\": true lets "
            "them");
  EXPECT_TRUE(message({.include = {"c"}}).starts_with("prune: include 'c' names no"));
  check_prune(two.model, {.scope = Scope::layer, .cut = {Cut::sparsity, 0.7}});
  check_prune(two.model, {.cut = {Cut::sparsity, 0.9}});
  check_prune(two.model, {.cut = {Cut::sparsity, 1}, .allow_empty = true});
}

TEST(Pruner, RefusedItLeavesTheModelAlone) {
  HandMade model;
  const Parameter& a = model.add("a.weight", {1, 2}, {1, 2});
  model.add("b.weight", {1, 2}, {1, INFINITY});
  EXPECT_THROW(prune(model, {.cut = {Cut::sparsity, 0.5}}), Error);
  EXPECT_THROW(prune(model, {.cut = {Cut::sparsity, 2}, .include = {"a"}}), UsageError);
  EXPECT_EQ(numbers(a.value()), (std::vector<float>{1, 2}));
  EXPECT_FALSE(a.mask.defined());
}

TEST(Pruner, TakesACriterionThatIsInNoTable) {
  HandMade model;
  const Parameter& fc = model.add("fc.weight", {1, 4}, {1, 2, 3, 4});
  const Criterion largest{"largest", "", "", [](std::span<float> scores, const Evidence& evidence) {
                            for (size_t i = 0; i < scores.size(); ++i) scores[i] = -evidence.w[i];
                          }};
  prune(model, {.criterion = largest, .cut = {Cut::sparsity, 0.25}});
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{1, 2, 3, 0}));
}

/// Prunes as training would: the weights change between steps, the masks hold.
void expect_monotone(const PruneOptions& options, const Schedule& schedule) {
  HandMade model;
  Parameter& a = model.add("a.weight", {5, 6}, std::vector<float>(30, 1.0f));
  Parameter& b = model.add("b.weight", {7, 3}, std::vector<float>(21, 1.0f));
  const GradualPruner pruner(options, schedule);
  std::vector<int> before(51, 1);
  for (int64_t step = 0; step <= schedule.end; ++step) {
    uint64_t place = 0;
    for (Parameter* parameter : {&a, &b})
      for (int64_t i = 0; i < parameter->value().elements(); ++i, ++place)
        if (!parameter->mask.defined() || parameter->mask.data<uint8_t>()[i])
          parameter->value().f32()[i] =
              0.01f + random_uniform(random_key(3, static_cast<uint64_t>(step)), place);
    const auto result = pruner.step(model, step);
    ASSERT_EQ(result.has_value(), schedule.acts_at(step));
    if (!result) continue;
    ASSERT_EQ(result->total().pruned,
              std::llround(schedule.sparsity_at(step, options.cut.value) * result->total().units));
    std::vector<int> now;
    for (const Parameter* parameter : {&a, &b})
      for (const float value : numbers(parameter->value())) now.push_back(value != 0);
    for (size_t i = 0; i < now.size(); ++i)
      ASSERT_LE(now[i], before[i]) << "step " << step << ", weight " << i;
    before = now;
  }
  if (options.unit == Unit::weight) {
    EXPECT_EQ(zeros(a) + zeros(b), std::llround(options.cut.value * 51));
  }
}

TEST(GradualPruner, GivesNothingBackAndEndsAtExactlyTheTarget) {
  const Schedule cubic{.kind = Schedule::cubic, .begin = 2, .end = 19, .every = 4};
  expect_monotone({.cut = {Cut::sparsity, 0.9}}, cubic);
  expect_monotone({.criterion = criterion_named("random"), .cut = {Cut::sparsity, 0.77}, .seed = 5}, cubic);
  expect_monotone({.unit = Unit::row, .criterion = criterion_named("l2"), .cut = {Cut::sparsity, 0.5}},
                  {.kind = Schedule::linear, .begin = 0, .end = 10, .every = 3});
}

TEST(GradualPruner, MovesAThresholdAlongTheScheduleToo) {
  HandMade model;
  const Parameter& fc = model.add("fc.weight", {1, 4}, {1, 2, 3, 4});
  const GradualPruner pruner({.cut = {Cut::threshold, 4}}, {.kind = Schedule::linear, .begin = 0, .end = 2});
  pruner.step(model, 1);  // below 2
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{0, 2, 3, 4}));
  pruner.step(model, 2);  // below 4
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{0, 0, 0, 4}));
}

TEST(GradualPruner, RefusesABadScheduleOrCutBeforeTheFirstStep) {
  EXPECT_THROW(GradualPruner({}, {.kind = Schedule::cubic, .begin = 5, .end = 1}), UsageError);
  EXPECT_THROW(GradualPruner({.cut = {Cut::sparsity, 1.1}}, {}), UsageError);
}

}  // namespace
}  // namespace espalier

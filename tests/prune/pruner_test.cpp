#include "espalier/prune/pruner.h"

#include <gtest/gtest.h>

#include <cmath>

#include "espalier/core/random.h"
#include "prune/zoo.h"

namespace espalier {
namespace {

int64_t zeros(const Parameter& parameter) { return parameter.value().elements() - parameter.nonzeros(); }

TEST(Pruner, TakesTheSmallestMagnitudesOfAllLayers) {
  HandMade model;
  const Parameter& a = model.add("a.weight", {2, 2}, {1, -5, 2, 6});
  const Parameter& bias = model.add("a.bias", {2}, {0.1f, 0.1f}, Role::bias);
  const Parameter& b = model.add("b.weight", {1, 4}, {-3, 7, 8, 9});
  const PruneResult result = prune(model, any_input, {.target = {Target::sparsity, 0.375}});
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
    prune(model, any_input, options);
    return std::pair(numbers(a.value()), numbers(b.value()));
  };
  using Layers = std::pair<std::vector<float>, std::vector<float>>;
  EXPECT_EQ(pruned({.selection = {.scope = scopes().named("layer")}, .target = {Target::sparsity, 0.375}}),
            (Layers{{0, -5, 0, 6}, {0, 0, 8, 9}}));
  EXPECT_EQ(pruned({.target = {Target::quantile, 0.5}}), (Layers{{0, 0, 0, 6}, {0, 7, 8, 9}}));
}

TEST(Pruner, LeavesExactlyTheAskedSparsityInAModel) {
  const auto model = make_model({.type = "lenet300"}, 0);
  const Shape digits{28, 28, 1};
  prune(*model, digits, {.target = {Target::sparsity, 0.3}});
  const Network network(*model, digits);
  EXPECT_EQ(network.totals.weights, 784 * 300 + 300 * 100 + 100 * 10);
  EXPECT_EQ(network.totals.weight_zeros, 79860);  // 0.3 of 266,200
  EXPECT_EQ(network.totals.parameters - network.totals.nonzeros, 79860);
}

TEST(Pruner, TakesHalfTheFiltersOfOneConvolutionByL2) {
  HandMade model;
  const Parameter& conv1 = model.add("conv1.weight", {2, 1, 1, 2}, {1, 1, 2, 2});
  // By l1 the first filter (4.4) would stay and the last (4) go; by l2 (3.11 against 4) it is the other way.
  const Parameter& conv2 = model.add("conv2.weight", {4, 1, 1, 2}, {2.2f, 2.2f, 1, 0, -9, 9, 0, 4});
  const PruneResult result = prune(model, any_input,
                                   {.unit = Unit::filter,
                                    .scoring = {.criterion = criteria().named("l2")},
                                    .selection = {.scope = scopes().named("layer")},
                                    .target = {Target::sparsity, 0.5},
                                    .include = {"conv2"}});
  EXPECT_EQ(numbers(conv1.value()), (std::vector<float>{1, 1, 2, 2}));
  EXPECT_EQ(numbers(conv2.value()), (std::vector<float>{0, 0, 0, 0, -9, 9, 0, 4}));
  EXPECT_EQ(result.total().units, 4);
  EXPECT_EQ(result.total().pruned, 2);
}

TEST(Pruner, AgainAtTheSameSparsityTakesNothingMore) {
  HandMade model;
  const Parameter& fc = model.add("fc.weight", {1, 4}, {4, 3, 2, 1});
  const PruneOptions half{.target = {Target::sparsity, 0.5}};
  prune(model, any_input, half);
  const PruneResult again = prune(model, any_input, half);
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
const PruneOptions third_of_rows{.unit = Unit::filter, .target = {Target::sparsity, 1.0 / 3}};

TEST(Pruner, RanksRowsOfAllLayersByTheirShareOfTheLayersMean) {
  TwoSizes by_mean;  // 0.4 0.8 1.2 1.6, and 0.67 1.33
  prune(by_mean.model, any_input, third_of_rows);
  EXPECT_EQ(numbers(by_mean.a.value()), (std::vector<float>{0, 2, 3, 4}));
  EXPECT_EQ(numbers(by_mean.b.value()), (std::vector<float>{0, 200}));
  TwoSizes as_they_are;
  PruneOptions options = third_of_rows;
  options.scoring.normalizer = Normalizer::none;
  prune(as_they_are.model, any_input, options);
  EXPECT_EQ(numbers(as_they_are.a.value()), (std::vector<float>{0, 0, 3, 4}));
  EXPECT_EQ(numbers(as_they_are.b.value()), (std::vector<float>{100, 200}));
  TwoSizes below_three;  // a threshold is of the scores as the criterion gives them
  options = third_of_rows;
  options.target = {Target::threshold, 3};
  prune(below_three.model, any_input, options);
  EXPECT_EQ(numbers(below_three.a.value()), (std::vector<float>{0, 0, 3, 4}));
  EXPECT_EQ(numbers(below_three.b.value()), (std::vector<float>{100, 200}));
}

TEST(Pruner, WhatIsPrunedHasNoShareInTheMean) {
  TwoSizes two;
  PruneOptions options = third_of_rows;
  prune(two.model, any_input, options);  // left: 2 3 4, whose shares are 0.67 1 1.33, and 200 with 1
  options.target.value = 0.5;
  prune(two.model, any_input, options);
  EXPECT_EQ(numbers(two.a.value()), (std::vector<float>{0, 0, 3, 4}));
  EXPECT_EQ(numbers(two.b.value()), (std::vector<float>{0, 200}));
}

/// y = b(a(x)), of two inputs, four and two outputs; the second makes the network's.
struct TwoLayers {
  SmallNet net;
  Linear &a = net.linear("a", 2, 4), &b = net.linear("b", 4, 2);
  TwoLayers() {
    net.pass = [this](const Variable& x) { return b.forward(a.forward(ops::flatten(x))); };
    randomize(net, 1);
  }
  const Shape image{1, 1, 2};
  int64_t zeros_of(const char* name) { return zeros(*net.find(name)); }
};

TEST(Pruner, FiltersOfTheOutputStayUnlessIncludedByName) {
  const auto pruned_of_b = [](PruneOptions options) {
    TwoLayers two;
    options.selection.scope = scopes().named("layer");
    options.target = {Target::sparsity, 0.5};
    prune(two.net, two.image, options);
    return two.zeros_of("b.weight");
  };
  EXPECT_EQ(pruned_of_b({.unit = Unit::filter}), 0);
  EXPECT_EQ(pruned_of_b({.unit = Unit::filter, .include = {"*"}}), 0);
  EXPECT_EQ(pruned_of_b({.unit = Unit::filter, .include = {"b"}}), 4);
  EXPECT_EQ(pruned_of_b({.unit = Unit::column}), 4);
  EXPECT_EQ(pruned_of_b({.unit = Unit::weight}), 4);
  TwoLayers two;
  PruneOptions options{.unit = Unit::filter, .target = {Target::sparsity, 0.5}, .exclude = {"a"}};
  EXPECT_EQ(message_of<Error>([&] { prune(two.net, two.image, options); }),
            "prune: nothing to prune: the filters of the network's output, b, stay unless include names it");
}

TEST(Pruner, ALayerIsNotEmptiedUnlessThatIsAllowed) {
  TwoSizes two;
  const PruneOptions all_of_a{.target = {Target::sparsity, 4.0 / 6}};
  EXPECT_EQ(message_of<Error>([&] { prune(two.model, any_input, all_of_a); }),
            "prune: nothing would be left of a, all 4 weights of which would go; \"allow_empty\": true lets "
            "them");
  EXPECT_EQ(zeros(two.a), 0);
  PruneOptions allowed = all_of_a;
  allowed.allow_empty = true;
  prune(two.model, any_input, allowed);
  EXPECT_EQ(zeros(two.a), 4);
  EXPECT_EQ(prune(two.model, any_input, all_of_a).total().pruned, 4) << "it was empty before";
}

TEST(CheckPrune, FindsWhatNoScoresCanMend) {
  TwoSizes two;
  const auto message = [&](const PruneOptions& options) {
    return message_of<Error>([&] { check_prune(two.model, any_input, options); });
  };
  EXPECT_EQ(
      message({.unit = Unit::filter,
               .selection = {.scope = scopes().named("layer")},
               .target = {Target::sparsity, 0.75}}),
      "prune: nothing would be left of b, all 2 filters of which would go; \"allow_empty\": true lets them");
  EXPECT_EQ(message({.target = {Target::sparsity, 1}}),
            "prune: nothing would be left of a, all 4 weights of which would go; \"allow_empty\": true lets "
            "them");
  EXPECT_TRUE(message({.include = {"c"}}).starts_with("prune: include 'c' names no"));
  check_prune(two.model, any_input,
              {.selection = {.scope = scopes().named("layer")}, .target = {Target::sparsity, 0.7}});
  check_prune(two.model, any_input, {.target = {Target::sparsity, 0.9}});
  check_prune(two.model, any_input, {.target = {Target::sparsity, 1}, .allow_empty = true});
}

TEST(Pruner, RefusedItLeavesTheModelAlone) {
  HandMade model;
  const Parameter& a = model.add("a.weight", {1, 2}, {1, 2});
  model.add("b.weight", {1, 2}, {1, INFINITY});
  EXPECT_THROW(prune(model, any_input, {.target = {Target::sparsity, 0.5}}), Error);
  EXPECT_THROW(prune(model, any_input, {.target = {Target::sparsity, 2}, .include = {"a"}}), UsageError);
  EXPECT_EQ(numbers(a.value()), (std::vector<float>{1, 2}));
  EXPECT_FALSE(a.mask.defined());
}

TEST(Pruner, TakesACriterionThatIsInNoTable) {
  HandMade model;
  const Parameter& fc = model.add("fc.weight", {1, 4}, {1, 2, 3, 4});
  const Criterion largest{"largest", "", "", [](std::span<float> scores, const ImportanceInputs& inputs) {
                            for (size_t i = 0; i < scores.size(); ++i) scores[i] = -inputs.w[i];
                          }};
  prune(model, any_input, {.scoring = {.criterion = largest}, .target = {Target::sparsity, 0.25}});
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
    const auto result = pruner.step(model, any_input, {}, step);
    ASSERT_EQ(result.has_value(), schedule.acts_at(step));
    if (!result) continue;
    ASSERT_EQ(result->total().pruned,
              std::llround(schedule.sparsity_at(step, options.target.value) * result->total().units));
    std::vector<int> now;
    for (const Parameter* parameter : {&a, &b})
      for (const float value : numbers(parameter->value())) now.push_back(value != 0);
    for (size_t i = 0; i < now.size(); ++i)
      ASSERT_LE(now[i], before[i]) << "step " << step << ", weight " << i;
    before = now;
  }
  if (options.unit == Unit::weight) {
    EXPECT_EQ(zeros(a) + zeros(b), std::llround(options.target.value * 51));
  }
}

TEST(GradualPruner, GivesNothingBackAndEndsAtExactlyTheTarget) {
  const Schedule cubic{.type = "cubic", .begin = 2, .end = 19, .every = 4};
  expect_monotone({.target = {Target::sparsity, 0.9}}, cubic);
  expect_monotone(
      {.scoring = {.criterion = criteria().named("random"), .seed = 5}, .target = {Target::sparsity, 0.77}},
      cubic);
  expect_monotone({.unit = Unit::filter,
                   .scoring = {.criterion = criteria().named("l2")},
                   .target = {Target::sparsity, 0.5}},
                  {.type = "linear", .begin = 0, .end = 10, .every = 3});
}

TEST(GradualPruner, MasksStayNestedWhereLayersHaveSharesOfTheirOwn) {
  const Schedule cubic{.type = "cubic", .begin = 0, .end = 40, .every = 1};
  expect_monotone({.selection = {.scope = scopes().named("erk")}, .target = {Target::sparsity, 0.9}}, cubic);
  expect_monotone({.selection = {.scope = scopes().named("erk")}, .target = {Target::sparsity, 0.83}},
                  {.type = "geometric", .begin = 0, .end = 60, .every = 1});
  expect_monotone({.unit = Unit::filter,
                   .selection = {.scope = scopes().named("erk")},
                   .target = {Target::sparsity, 0.6}},
                  cubic);
  expect_monotone({.target = {Target::sparsity, 0.9}},
                  {.type = "table", .end = 9, .table = {{2, 0.2}, {9, 0.9}}});
}

/// 784-300-100-10, whose pass names its layers.
struct LeNet300 {
  std::unique_ptr<Module> model = make_model({.type = "lenet300"}, 0);
  const Shape image{28, 28, 1};
  PruneResult pruned(const PruneOptions& options) { return prune(*model, image, options); }
  int64_t zeros_of(const char* layer) { return zeros(*model->find(std::string(layer) + ".weight")); }
  std::vector<int64_t> all_zeros() { return {zeros_of("fc1"), zeros_of("fc2"), zeros_of("fc3")}; }
};
using Zeros = std::vector<int64_t>;

TEST(Pruner, ScopesThatLookAtPlacesFindThem) {
  LeNet300 uniform;
  const auto options = [](const char* scope, double sparsity) {
    return PruneOptions{.selection = {.scope = scopes().named(scope)},
                        .target = {Target::sparsity, sparsity}};
  };
  uniform.pruned(options("uniform", 0.5));
  EXPECT_EQ(uniform.all_zeros(), (Zeros{0, 15000, 500}));
  LeNet300 without_first;
  PruneOptions some = options("uniform", 0.5);
  some.exclude = {"fc1"};
  without_first.pruned(some);
  EXPECT_EQ(without_first.all_zeros(), (Zeros{0, 15000, 500})) << "fc2 is no first layer";
  LeNet300 plus;
  plus.pruned(options("uniform_plus", 0.9));  // of 266,200 go 239,580, of which 800 of fc3
  EXPECT_EQ(plus.zeros_of("fc3"), 800);
  EXPECT_EQ(plus.zeros_of("fc1") + plus.zeros_of("fc2"), 238'780);
  EXPECT_NEAR(static_cast<double>(plus.zeros_of("fc2")) / 30'000, 238'780.0 / 265'200, 1e-4);
  LeNet300 full;
  EXPECT_TRUE(message_of<Error>([&] {
                full.pruned(options("uniform_plus", 0.9999));
              }).starts_with("prune: sparsity 0.9999 cannot be reached: it is 0.999"));
  EXPECT_EQ(full.all_zeros(), (Zeros{0, 0, 0}));
}

TEST(Pruner, SharesOfLayersGrowInProportion) {
  LeNet300 net;
  const PruneOptions options{.selection = {.scope = scopes().named("layer"), .shares_of = {{"fc1", 0.8}}},
                             .target = {Target::sparsity, 0.4}};
  const GradualPruner pruner(options, {.type = "linear", .begin = 0, .end = 4, .initial = 0.2});
  pruner.step(*net.model, net.image, {}, 0);
  EXPECT_EQ(net.all_zeros(), (Zeros{94'080, 6'000, 200})) << "half of each share";
  pruner.step(*net.model, net.image, {}, 2);
  EXPECT_EQ(net.all_zeros(), (Zeros{141'120, 9'000, 300}));
  pruner.step(*net.model, net.image, {}, 4);
  EXPECT_EQ(net.all_zeros(), (Zeros{188'160, 12'000, 400}));
}

TEST(Pruner, OfWhatRemainsTheShareIsExact) {
  LeNet300 net;
  const PruneOptions fifth{.target = {Target::sparsity, 0.2}, .of = Of::remaining};
  int64_t left = 266'200;
  for (int round = 0; round < 5; ++round) {
    const PruneResult result = net.pruned(fifth);
    const int64_t go = std::llround(0.2 * static_cast<double>(left));
    EXPECT_EQ(result.total().pruned - result.total().already, go);
    left -= go;
  }
  EXPECT_NEAR(static_cast<double>(left) / 266'200, std::pow(0.8, 5), 1e-5);
}

TEST(Pruner, IterationsTakeTheSameShareOfWhatRemainsEach) {
  LeNet300 net;
  net.pruned({.target = {Target::sparsity, 0.5}});  // 133,100 remain
  std::vector<int64_t> gone;
  PruneOptions options{
      .target = {Target::sparsity, 0.91}, .of = Of::remaining, .allow_empty = true, .iterations = 2};
  options.before_each = [&] {
    gone.push_back(net.zeros_of("fc1") + net.zeros_of("fc2") + net.zeros_of("fc3"));
  };
  net.pruned(options);
  options.before_each();
  // Of the 133,100 stay 0.3, and 0.09 in the end.
  EXPECT_EQ(gone,
            (Zeros{133'100, 133'100 + std::llround(0.7 * 133'100), 133'100 + std::llround(0.91 * 133'100)}));
}

TEST(Pruner, OnlyASparsityIsOfWhatRemainsOrOfLayers) {
  LeNet300 net;
  const auto message = [&](const PruneOptions& options) {
    return message_of<UsageError>([&] { net.pruned(options); });
  };
  EXPECT_EQ(
      message({.target = {Target::threshold, 0.1}, .of = Of::remaining}),
      "prune: of remaining goes with sparsity, of which each layer has its part, and not with threshold");
  EXPECT_EQ(message({.selection = {.scope = scopes().named("erk")}, .target = {Target::quantile, 0.1}}),
            "prune: scope erk goes with sparsity, of which each layer has its part, and not with quantile");
  EXPECT_TRUE(message_of<UsageError>([] {
                GradualPruner({.target = {Target::sparsity, 0.5}, .of = Of::remaining},
                              {.type = "cubic", .begin = 0, .end = 5});
              }).starts_with("prune: schedule cubic: counts from the original network"));
  EXPECT_NO_THROW(GradualPruner({.target = {Target::sparsity, 0.5}, .of = Of::remaining}, {.begin = 3}));
}

/// Four weights, which training moves between acts: each that no mask holds is set anew.
struct Moving {
  HandMade model;
  Parameter& fc = model.add("fc.weight", {1, 4}, {1, 2, 3, 4});
  void train(const std::vector<float>& weights) {
    for (int64_t i = 0; i < 4; ++i)
      if (!fc.mask.defined() || fc.mask.data<uint8_t>()[i])
        fc.value().f32()[i] = weights[static_cast<size_t>(i)];
  }
};
using Values = std::vector<float>;

TEST(GradualPruner, AlternatingLetsGoAndChoosesAnew) {
  Moving net;
  const GradualPruner pruner({.target = {Target::sparsity, 0.5}},
                             {.type = "alternating", .begin = 0, .end = 16, .every = 4});
  const auto act = [&](int64_t step) { return pruner.step(net.model, any_input, {}, step); };
  EXPECT_TRUE(act(0)->let_go);
  EXPECT_FALSE(act(1));
  const auto first = act(4);
  EXPECT_EQ(first->total().pruned, 2);
  EXPECT_FALSE(first->let_go);
  EXPECT_EQ(numbers(net.fc.value()), (Values{0, 0, 3, 4}));
  net.train({9, 9, 1, 5});
  EXPECT_EQ(numbers(net.fc.value()), (Values{0, 0, 1, 5})) << "held";
  const auto free = act(8);
  EXPECT_TRUE(free->let_go);
  EXPECT_EQ(free->total().already, 2);
  EXPECT_FALSE(net.fc.mask.defined());
  net.train({9, 2, 1, 8});
  act(12);
  EXPECT_EQ(numbers(net.fc.value()), (Values{9, 0, 0, 8}));
  net.train({7, 7, 7, 7});
  EXPECT_EQ(numbers(net.fc.value()), (Values{7, 0, 0, 7}));
  EXPECT_FALSE(act(16));
}

TEST(GradualPruner, WhatIsNotHeldMayComeBackUntilTheLastAct) {
  Moving net;
  const GradualPruner pruner({.target = {Target::sparsity, 0.5}, .hold = false},
                             {.type = "linear", .begin = 0, .end = 4, .every = 2, .initial = 0.5});
  const auto act = [&](int64_t step) { return pruner.step(net.model, any_input, {}, step); };
  EXPECT_EQ(act(0)->total().pruned, 2);
  EXPECT_EQ(numbers(net.fc.value()), (Values{0, 0, 3, 4}));
  EXPECT_FALSE(net.fc.mask.defined());
  net.train({8, 0, 1, 5});
  EXPECT_EQ(act(2)->total().already, 0);
  EXPECT_EQ(numbers(net.fc.value()), (Values{8, 0, 0, 5}));
  net.train({6, 7, 1, 2});
  act(4);
  EXPECT_EQ(numbers(net.fc.value()), (Values{6, 7, 0, 0}));
  net.train({9, 9, 9, 9});
  EXPECT_EQ(numbers(net.fc.value()), (Values{9, 9, 0, 0})) << "the last act's";
}

TEST(GradualPruner, OfAnEarlierStagesMasksAllStays) {
  Moving net;
  prune(net.model, any_input, {.target = {Target::sparsity, 0.25}});
  const GradualPruner pruner({.target = {Target::sparsity, 0.5}, .hold = false},
                             {.type = "linear", .begin = 0, .end = 4, .every = 2, .initial = 0.5});
  pruner.step(net.model, any_input, {}, 0);
  net.train({9, 9, 9, 9});
  EXPECT_EQ(numbers(net.fc.value()), (Values{0, 9, 9, 9}));
}

TEST(GradualPruner, SchedulesThatDoNotGoWithThePrunerAreRefused) {
  const auto message = [](const PruneOptions& options, const Schedule& schedule) {
    return message_of<UsageError>([&] { GradualPruner(options, schedule); });
  };
  const PruneOptions half{.target = {Target::sparsity, 0.5}};
  EXPECT_EQ(message(half, {.type = "table", .table = {{1, 0.2}, {2, 0.4}}}),
            "prune: schedule table: ends at 0.4, and sparsity is 0.5");
  EXPECT_EQ(message({.target = {Target::threshold, 0.5}}, {.type = "geometric", .begin = 0, .end = 3}),
            "prune: schedule geometric: is of a sparsity, and not of threshold");
  EXPECT_EQ(message({.target = {Target::sparsity, 1}}, {.type = "geometric", .begin = 0, .end = 3}),
            "prune: schedule geometric: takes the same share of what is left each time, which comes to no "
            "sparsity of 1");
  PruneOptions loose = half;
  loose.hold = false;
  EXPECT_EQ(message(loose, {.begin = 3}),
            "prune: schedule one_shot: acts once, and what goes last is held: expected hold true, or another "
            "schedule");
  EXPECT_EQ(message(loose, {.type = "alternating", .begin = 0, .end = 9, .every = 2}),
            "prune: schedule alternating: lets go of what it prunes itself: expected hold true");
  PruneOptions channels = cut_channels({Target::ratio, 0.5});
  channels.hold = false;
  EXPECT_TRUE(message(channels, {.type = "linear", .begin = 0, .end = 3})
                  .starts_with("prune: hold false lets what was zeroed come back"));
}

TEST(GradualPruner, MovesAThresholdAlongTheScheduleToo) {
  HandMade model;
  const Parameter& fc = model.add("fc.weight", {1, 4}, {1, 2, 3, 4});
  const GradualPruner pruner({.target = {Target::threshold, 4}}, {.type = "linear", .begin = 0, .end = 2});
  pruner.step(model, any_input, {}, 1);  // below 2
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{0, 2, 3, 4}));
  pruner.step(model, any_input, {}, 2);  // below 4
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{0, 0, 0, 4}));
}

TEST(GradualPruner, WhatHasNoPartsIsRefused) {
  const Schedule linear{.type = "linear", .begin = 0, .end = 2};
  EXPECT_EQ(message_of<UsageError>([&] { GradualPruner({.unit = Unit::n_of(2, 4)}, linear); }),
            "prune: schedule linear: n of each m stay, and there is nothing between all and n: expected one "
            "selection");
  PruneOptions cut = cut_channels({Target::quantile, 0.5});
  const std::string why =
      "quantile is of the scores of those that are left, and cutting changes both: expected one selection";
  EXPECT_EQ(message_of<UsageError>([&] { GradualPruner(cut, linear); }), "prune: schedule linear: " + why);
  cut.iterations = 2;
  const auto model = random_model("vgg11", 8);
  EXPECT_EQ(message_of<UsageError>([&] { prune(*model, small_image, cut); }), "prune: iterations: " + why);
}

TEST(Pruner, ASparsityThatLimitsForbidIsSaidAndNothingIsPruned) {
  TwoSizes two;
  PruneOptions options{.selection = {.limits = {.max_ratio = 0.5}}, .target = {Target::sparsity, 0.9}};
  const std::string message =
      "prune: sparsity 0.9 cannot be reached: it is 0.5 with every layer at its least width (see "
      "min_channels, "
      "max_ratio and exclude)";
  EXPECT_EQ(message_of<Error>([&] { prune(two.model, any_input, options); }), message);
  EXPECT_EQ(message_of<Error>([&] { check_prune(two.model, any_input, options); }), message);
  EXPECT_EQ(zeros(two.a) + zeros(two.b), 0);
  options.target.value = 0.5;
  EXPECT_EQ(prune(two.model, any_input, options).total().pruned, 3);
}

TEST(Pruner, MoreThanTheSparsityGoesWhereLeastRatiosTakeIt) {
  TwoSizes two;
  const PruneOptions options{.selection = {.limits = {.min_ratio = 0.5}}, .target = {Target::sparsity, 0.2}};
  const auto result = prune(two.model, any_input, options);
  ASSERT_TRUE(result.forced);
  EXPECT_EQ(result.forced->units, 3);
  EXPECT_EQ(result.forced->asked, 1);
}

TEST(Pruner, NOfMSaysItselfHowManyGo) {
  HandMade model;
  const Parameter& fc = model.add("fc.weight", {1, 4}, {4, 1, 3, 2});
  for (const PruneOptions& options :
       {PruneOptions{.unit = Unit::n_of(2, 4), .target = {Target::speedup, 2}},
        PruneOptions{.unit = Unit::n_of(2, 4), .selection = {.limits = {.max_ratio = 0.5}}}})
    EXPECT_EQ(message_of<UsageError>([&] { prune(model, any_input, options); }),
              "prune: 2:4 says itself how many go: expected no target and no limits");
  prune(model, any_input, {.unit = Unit::n_of(2, 4)});
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{4, 0, 3, 0}));
}

TEST(Pruner, AFailureBetweenSelectionsLeavesOptimizerStateAsItWas) {
  HandMade model;
  Parameter& fc = model.add("fc.weight", {1, 4}, {1, 2, 3, 4});
  fc.state["slot0"] = Tensor::from({1, 4}, std::vector<float>{5, 6, 7, 8});
  PruneOptions options{.target = {Target::sparsity, 0.5}, .iterations = 2};
  options.before_each = [&, asked = 0]() mutable {
    if (++asked == 2) fail("stop");
  };
  EXPECT_EQ(message_of<Error>([&] { prune(model, any_input, options); }), "stop");
  EXPECT_EQ(numbers(fc.value()), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(numbers(fc.state_of("slot0")), (std::vector<float>{5, 6, 7, 8}));
  EXPECT_FALSE(fc.mask.defined());
}

TEST(Pruner, AnOriginalIsOfChannelsOnly) {
  TwoLayers two;
  const PruneOptions half{.target = {Target::sparsity, 0.5}};
  EXPECT_EQ(prune(two.net, two.image, original_network(two.net, two.image), half).total().pruned, 8);
}

TEST(GradualPruner, RefusesABadScheduleOrCutBeforeTheFirstStep) {
  EXPECT_THROW(GradualPruner({}, {.type = "cubic", .begin = 5, .end = 1}), UsageError);
  EXPECT_THROW(GradualPruner({.target = {Target::sparsity, 1.1}}, {}), UsageError);
}

// --- Channels ---

TEST(Pruner, NoneOfSeveralLayersSideBySideIsEmptied) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 6), &b = net.conv("b", 3, 10), &each = net.conv("each", 16, 16, 16),
         &c = net.conv("c", 16, 12);
  Linear& fc = net.linear("fc", 12, 5);
  net.pass = [&](const Variable& x) {
    const Variable both = relu(ops::concat({a.forward(x), b.forward(x)}));
    return fc.forward(ops::global_average_pool(relu(c.forward(relu(each.forward(both))))));
  };
  randomize(net, 1);
  for (float& w : net.find("a.weight")->value().span<float>()) w *= 1e-3f;
  for (int64_t i = 0; i < 6 * 9; ++i) net.find("each.weight")->value().f32()[i] *= 1e-3f;
  for (int64_t i = 0; i < 12 * 9 * 16; ++i)
    if (i % 16 < 6) net.find("c.weight")->value().f32()[i] *= 1e-3f;
  const auto width = [&](const char* layer) { return net.find(std::string(layer) + ".weight")->shape()[0]; };
  const OriginalNetwork original = original_network(net, small_image);
  EXPECT_EQ(original.parts, (std::map<std::string, int64_t>{{"a", 6}, {"b", 10}}));
  PruneOptions options = cut_channels();
  options.verify = random_tensor({4, 8, 8, 3}, 5);
  options.target = {Target::ratio, 0.5};
  options.selection.limits = {.min_channels = 1, .max_ratio = 0.5};
  for (const double progress : {0.5, 1.0}) {  // half of what a had in the beginning, not of what is left
    prune(net, small_image, original, options, progress);
    EXPECT_EQ(width("a"), 3);
    EXPECT_EQ(width("each"), width("a") + width("b"));
  }
  EXPECT_EQ(width("each") + width("c"), 14);
  options.selection.limits = {.min_channels = 1};
  options.target = {Target::ratio, 25.0 / 28};
  prune(net, small_image, original, options);
  EXPECT_EQ(width("a"), 1);
  EXPECT_EQ(width("b"), 1);
  EXPECT_EQ(width("each"), 2);
}

TEST(Pruner, TheWorkedExampleOfTheReadme) {
  SmallNet net;
  Linear &fc1 = net.linear("fc1", 2, 3), &fc2 = net.linear("fc2", 3, 1);
  net.pass = [&](const Variable& x) { return fc2.forward(relu(fc1.forward(ops::flatten(x)))); };
  const auto set = [&](const char* name, const Floats& values) {
    net.find(name)->value() = Tensor::from(net.find(name)->shape(), values);
  };
  set("fc1.weight", {3, 4, 1, 0, 0, 2});
  set("fc1.bias", {1, 0, 0.5f});
  set("fc2.weight", {1, 3, 2});
  set("fc2.bias", {7});
  PruneOptions options = cut_channels();
  options.scoring.criterion = criteria().named("group_norm");
  options.selection.limits.min_channels = 1;
  options.target = {Target::ratio, 1.0 / 3};
  const Shape pixel{1, 1, 2};
  const UnitSet channels = units_of(net, pixel, Unit::channel, {}, {});
  EXPECT_EQ(numbers(score_units(channels, options.scoring, {}, true)),
            (std::vector<float>{13 / (22.0f / 3), 5 / (22.0f / 3), 4 / (22.0f / 3)}));
  const auto result = prune(net, pixel, original_network(net, pixel), options);
  EXPECT_EQ(net.history.front(), (AxisCut{"fc1.weight", 0, 3, {0, 1}}));
  EXPECT_EQ(numbers(net.find("fc2.bias")->value()), (std::vector<float>{8}));
  EXPECT_EQ(result.before.macs, 9);
  EXPECT_EQ(result.after.macs, 6);
}

TEST(Pruner, IterationsReachTheSameTargetAndTheirHistoryIsOne) {
  const auto model = random_model("vgg11", 6), fresh = random_model("vgg11", 6);
  PruneOptions options = cut_channels();
  options.iterations = 5;
  const int64_t before = macs(*model);
  prune_to(*model, {Target::speedup, 4}, options);
  EXPECT_GE(static_cast<double>(before) / static_cast<double>(macs(*model)), 4.0);
  cut(*fresh, model->history);
  EXPECT_EQ(fresh->history, model->history);
  const auto ours = model->parameters(), theirs = fresh->parameters();
  for (size_t i = 0; i < ours.size(); ++i) {
    if (!ours[i]->learned() || ours[i]->role == Role::bias) continue;  // into biases, constants go
    EXPECT_EQ(numbers(ours[i]->value()), numbers(theirs[i]->value())) << ours[i]->name;
  }
}

TEST(Pruner, OneGroupAtItsLimitIsHeldAndTheOthersGoOn) {
  const auto model = random_model("vgg11", 8);
  PruneOptions options = cut_channels();
  options.selection.scope = scopes().named("layer");
  options.selection.overrides = {{{"features.0"}, {.min_channels = 30}}};
  const auto result = prune_to(*model, {Target::ratio, 0.5}, options);
  ASSERT_EQ(result.held.size(), 1u);
  EXPECT_EQ(result.held[0].layer, "features.0");
  EXPECT_EQ(result.held[0].kept, 30);
}

TEST(Pruner, WhatIsHeldIsCountedFromTheFirstCut) {
  const auto model = random_model("vgg11", 8);
  PruneOptions options = cut_channels();
  options.selection.scope = scopes().named("layer");
  options.selection.overrides = {{{"features.0"}, {.min_channels = 30}}};
  options.iterations = 4;
  const auto result = prune_to(*model, {Target::ratio, 0.5}, options);
  ASSERT_EQ(result.held.size(), 1u);
  EXPECT_EQ(result.held[0].units, 32);
  EXPECT_EQ(result.held[0].kept, 30);
  EXPECT_LT(result.held[0].wanted, 30);
}

TEST(Pruner, AnErrorOnTheWayLeavesTheModelAsItWas) {
  const auto model = random_model("vgg11", 12), same = random_model("vgg11", 12);
  for (Module* one : {model.get(), same.get()}) prune_to(*one, {Target::ratio, 0.1});  // a history before
  for (Parameter* parameter : model->parameters()) {
    parameter->state["slot0"] = random_tensor(parameter->shape(), 13);
    parameter->state["average"] = random_tensor(parameter->shape(), 14);
    if (parameter->learned()) parameter->gradient() = random_tensor(parameter->shape(), 15);
    parameter->mask = Tensor::from(
        parameter->shape(), std::vector<uint8_t>(static_cast<size_t>(parameter->shape().elements()), 1));
  }
  PruneOptions options = cut_channels();
  options.scoring.criterion = criteria().named("taylor");
  options.iterations = 3;
  options.verify = random_tensor({4, 8, 8, 3}, 5);
  int asked = 0;
  options.signals = [&](const Criterion&) -> Signals {
    if (++asked == 3) fail("the data are gone");
    Signals gradients;
    for (const Parameter* parameter : model->parameters())
      if (parameter->learned()) gradients.of_parameters[parameter] = random_tensor(parameter->shape(), 11);
    return gradients;
  };
  EXPECT_EQ(message_of<Error>([&] { prune_to(*model, {Target::speedup, 3}, options); }), "the data are gone");
  EXPECT_EQ(model->history, same->history);
  const auto ours = model->parameters(), theirs = same->parameters();
  for (size_t i = 0; i < ours.size(); ++i) {
    const Shape& shape = theirs[i]->shape();
    EXPECT_EQ(ours[i]->shape(), shape);
    EXPECT_EQ(ours[i]->mask.shape(), shape);
    EXPECT_EQ(numbers(ours[i]->state_of("average")), numbers(random_tensor(shape, 14)));
    EXPECT_EQ(numbers(ours[i]->state_of("slot0")), numbers(random_tensor(shape, 13)));
    if (ours[i]->learned()) {
      EXPECT_EQ(numbers(ours[i]->gradient()), numbers(random_tensor(shape, 15)));
    }
    if (ours[i]->name.ends_with("num_batches_tracked")) continue;
    EXPECT_EQ(numbers(ours[i]->value()), numbers(theirs[i]->value())) << ours[i]->name;
  }
}

TEST(Pruner, AnOriginalOfAnotherNetworkIsRefused) {
  const auto model = random_model("vgg11", 8);
  OriginalNetwork original = original_network(*model, small_image);
  original.channels.erase("features.0");
  EXPECT_EQ(message_of<Error>([&] {
              prune(*model, small_image, original, cut_channels({Target::ratio, 0.5}));
            }),
            "prune: the channels of features.0 are 32 now, and 0 before the first cut");
}

TEST(Pruner, WhatStopsItBetweenCutsLeavesTheModelAsItWas) {
  const auto model = random_model("vgg11", 9);
  const int64_t before = macs(*model);
  PruneOptions options = cut_channels();
  options.iterations = 3;
  int asked = 0;
  options.before_each = [&] {
    if (++asked == 3) fail("stop");
  };
  EXPECT_EQ(message_of<Error>([&] { prune_to(*model, {Target::speedup, 2}, options); }), "stop");
  EXPECT_EQ(macs(*model), before);
  EXPECT_TRUE(model->history.empty());
}

TEST(Pruner, ANetworkThatACriterionCannotReadIsRefusedBeforehand) {
  SmallNet net;
  Linear& fc = net.linear("fc", 2, 2);
  net.pass = [&](const Variable& x) {
    return ops::activation(fc.forward(ops::flatten(x)), Activation::gelu);
  };
  PruneOptions options{.target = {Target::sparsity, 0.5}};
  for (const auto& [criterion, why] :
       {std::pair(
            "synflow",
            "prune: synflow needs a network whose ops scale with their inputs, as relu does, and activation "
            "gelu does not"),
        std::pair("grasp",
                  "activation gelu: its slope moves with its input, and of such there is no tangent yet")}) {
    options.scoring.criterion = criteria().named(criterion);
    EXPECT_EQ(message_of<UsageError>([&] { check_prune(net, {1, 1, 2}, options); }), why);
  }
  options.scoring.criterion = criteria().named("snip");
  check_prune(net, {1, 1, 2}, options);
}

TEST(Pruner, SignalsAreAskedForWhereTheyAreLookedAt) {
  const auto model = random_model("resnet20", 10);
  PruneOptions options = cut_channels();
  int asked = 0;
  options.signals = [&](const Criterion& criterion) {
    EXPECT_EQ(criterion.needs, Needs::gradients);
    ++asked;
    Signals gradients;
    for (const Parameter* parameter : model->parameters())
      if (parameter->learned()) gradients.of_parameters[parameter] = random_tensor(parameter->shape(), 11);
    return gradients;
  };
  options.iterations = 3;
  prune_to(*model, {Target::speedup, 2}, options);
  EXPECT_EQ(asked, 0);
  options.scoring.criterion = criteria().named("taylor");
  prune_to(*model, {Target::speedup, 2}, options);
  EXPECT_EQ(asked, 3);
}

}  // namespace
}  // namespace espalier

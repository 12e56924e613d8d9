#include "espalier/prune/channel_pruner.h"

#include <gtest/gtest.h>

#include "espalier/nn/models/models.h"
#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

const Shape input{8, 8, 3};

std::unique_ptr<Module> zoo(const char* type, uint64_t seed) {
  auto model = make_model({.type = type, .input = input, .classes = 10, .width = 0.5}, 0);
  randomize(*model, seed);
  return model;
}

ChannelPruneResult prune_to(Module& model, Target target, ChannelPruneOptions options = {}) {
  options.target = target;
  options.selection.limits.min_channels = 1;
  return prune_channels(model, input, whole_network(model, input), options);
}

int64_t macs(Module& model) { return Network(model, input).totals.macs; }

TEST(ChannelPruner, ReachesATargetAndNoFurtherThanItMust) {
  for (const char* type : {"vgg11", "resnet20"})
    for (const Target::Kind kind : {Target::speedup, Target::macs, Target::parameters, Target::bytes}) {
      SCOPED_TRACE(join(type, " ", target_names()[kind]));
      const auto model = zoo(type, 1);
      const auto before = Network(*model, input).totals;
      const int64_t count = kind == Target::macs         ? before.macs
                            : kind == Target::parameters ? before.parameters
                                                         : before.bytes;
      const Target target{kind, kind == Target::speedup ? 3.0 : static_cast<double>(count) / 3};
      const auto result = prune_to(*model, target);
      const auto after = Network(*model, input).totals;
      EXPECT_EQ(result.before.macs, before.macs);
      EXPECT_EQ(result.before.parameters, before.parameters);
      EXPECT_EQ(result.before.bytes, before.bytes);
      EXPECT_EQ(result.after.macs, after.macs);
      EXPECT_EQ(result.after.parameters, after.parameters);
      EXPECT_EQ(result.after.bytes, after.bytes);
      const double got = target.kind == Target::speedup      ? static_cast<double>(before.macs) / after.macs
                         : target.kind == Target::macs       ? static_cast<double>(after.macs)
                         : target.kind == Target::parameters ? static_cast<double>(after.parameters)
                                                             : static_cast<double>(after.bytes);
      const double beyond = target.kind == Target::speedup ? got / target.value : target.value / got;
      EXPECT_GE(beyond, 1.0);
      EXPECT_LE(beyond, 1.06) << "one channel less would have done";
    }
}

TEST(ChannelPruner, ARatioIsExact) {
  const auto model = zoo("vgg11", 2);
  int64_t before = 0, after = 0;
  for (const auto& group : prune_to(*model, {Target::ratio, 0.3}).groups) {
    before += group.before;
    after += group.after;
  }
  EXPECT_EQ(before - after, std::llround(0.3 * static_cast<double>(before)));
}

TEST(ChannelPruner, ScopeLayerTakesTheSameShareOfEach) {
  const auto model = zoo("resnet20", 3);
  ChannelPruneOptions options;
  options.selection.scope = Scope::layer;
  for (const auto& group : prune_to(*model, {Target::ratio, 0.5}, options).groups)
    EXPECT_EQ(group.after * 2, group.before) << group.layer;
}

TEST(ChannelPruner, ARatioWithMultiplesIsTheLeastSelectionThatReachesIt) {
  const Shape image{32, 32, 3};
  struct Case {
    double ratio;
    int64_t round_to;
    double most;
  };
  for (const auto& [ratio, round_to, most] :
       {Case{0.01, 8, 0.02}, {0.1, 8, 0.11}, {0.1, 32, 0.15}, {0.5, 16, 0.51}}) {
    SCOPED_TRACE(join(ratio, " by ", round_to));
    const auto model = make_model({.type = "resnet20", .input = image, .classes = 10}, 0);
    ChannelPruneOptions options;
    options.scoring.criterion = criterion_named("l1");
    options.selection.round_to = round_to;
    options.target = {Target::ratio, ratio};
    int64_t before = 0, gone = 0;
    for (const auto& group : prune_channels(*model, image, whole_network(*model, image), options).groups) {
      EXPECT_TRUE(group.after == group.before || group.after % round_to == 0) << group.layer;
      before += group.before;
      gone += group.before - group.after;
    }
    EXPECT_GE(gone, std::llround(ratio * static_cast<double>(before)));
    EXPECT_LE(static_cast<double>(gone), most * static_cast<double>(before));
  }
}

TEST(ChannelPruner, NoneOfSeveralLayersSideBySideIsEmptied) {
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
  const WholeNetwork whole = whole_network(net, input);
  EXPECT_EQ(whole.parts, (std::map<std::string, int64_t>{{"a", 6}, {"b", 10}}));
  ChannelPruneOptions options;
  options.verify = random_tensor({4, 8, 8, 3}, 5);
  options.target = {Target::ratio, 0.5};
  options.selection.limits = {.min_channels = 1, .max_ratio = 0.5};
  for (const double progress : {0.5, 1.0}) {  // half of what a had in the beginning, not of what is left
    prune_channels(net, input, whole, options, progress);
    EXPECT_EQ(width("a"), 3);
    EXPECT_EQ(width("each"), width("a") + width("b"));
  }
  EXPECT_EQ(width("each") + width("c"), 14);
  options.selection.limits = {.min_channels = 1};
  options.target = {Target::ratio, 25.0 / 28};
  prune_channels(net, input, whole, options);
  EXPECT_EQ(width("a"), 1);
  EXPECT_EQ(width("b"), 1);
  EXPECT_EQ(width("each"), 2);
}

TEST(ChannelPruner, TheCutNetworkIsTheMaskedOne) {
  for (const char* type : {"vgg11", "resnet20", "resnet50", "vit"}) {
    const auto model = zoo(type, 4);
    ChannelPruneOptions options;
    options.verify = random_tensor({4, 8, 8, 3}, 5);
    const auto result = prune_to(*model, {Target::speedup, 2}, options);
    ASSERT_TRUE(result.proof);
    EXPECT_GT(result.proof->largest_output, 0.01);
    EXPECT_TRUE(result.proof->says_something());
    EXPECT_LE(result.proof->largest_difference, 1e-3 * result.proof->largest_output) << type;
  }
}

TEST(ChannelPruner, TheWorkedExampleOfTheReadme) {
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
  ChannelPruneOptions options;
  options.scoring.criterion = criterion_named("group_norm");
  options.selection.limits.min_channels = 1;
  options.target = {Target::ratio, 1.0 / 3};
  const Shape pixel{1, 1, 2};
  const auto groups = channel_graph(net, Network(net, pixel).graph).groups;
  EXPECT_EQ(score_channels(groups, options.scoring, {})[0],
            (std::vector<float>{13 / (22.0f / 3), 5 / (22.0f / 3), 4 / (22.0f / 3)}));
  const auto result = prune_channels(net, pixel, whole_network(net, pixel), options);
  EXPECT_EQ(net.history.front(), (AxisCut{"fc1.weight", 0, 3, {0, 1}}));
  EXPECT_EQ(numbers(net.find("fc2.bias")->value()), (std::vector<float>{8}));
  EXPECT_EQ(result.before.macs, 9);
  EXPECT_EQ(result.after.macs, 6);
}

TEST(ChannelPruner, ADeadNetworkProvesNothing) {
  const auto model = zoo("vgg11", 4);
  for (Parameter* parameter : model->parameters())
    if (parameter->name == "features.0.weight" || parameter->name == "features.1.weight")
      std::ranges::fill(parameter->value().span<float>(), 0.0f);
  ChannelPruneOptions options;
  options.verify = random_tensor({4, 8, 8, 3}, 5);
  const auto proof = prune_to(*model, {Target::speedup, 2}, options).proof.value();
  EXPECT_FALSE(proof.says_something());
  EXPECT_EQ(proof.spread, 0);
  EXPECT_GT(proof.largest_output, 0);
}

TEST(ChannelPruner, NotANumberProvesNothing) {
  const auto model = zoo("vgg11", 4);
  std::ranges::fill(model->find("classifier.bias")->value().span<float>(), std::nanf(""));
  ChannelPruneOptions options;
  options.verify = random_tensor({4, 8, 8, 3}, 5);
  EXPECT_TRUE(message_of<Error>([&] {
                prune_to(*model, {Target::speedup, 2}, options);
              }).starts_with("prune: the cut network's outputs differ by nan"));
}

TEST(ChannelPruner, WhatDiffersFromNothingDoesNotHold) {
  EXPECT_TRUE(CutProof{}.holds());
  EXPECT_FALSE((CutProof{.largest_difference = 1e-9, .largest_output = 0}).holds());
}

TEST(ChannelPruner, OneImageHasNoStatisticsToProveBy) {
  const auto model = zoo("vgg11", 4);  // its last maps are 1x1
  ChannelPruneOptions options;
  options.verify = random_tensor({1, 8, 8, 3}, 5);
  const auto proof = prune_to(*model, {Target::speedup, 2}, options).proof.value();
  EXPECT_FALSE(proof.by_the_batch);
  EXPECT_FALSE(proof.says_something());
  EXPECT_TRUE(proof.holds());
}

TEST(ChannelPruner, WhatItsRunningStatisticsDeadenIsProvedByTheBatchs) {
  const auto model = zoo("vgg11", 4);
  for (Parameter* parameter : model->parameters())
    if (parameter->name.ends_with("running_var"))
      std::ranges::fill(parameter->value().span<float>(), 1e6f);  // as of layers with far larger outputs
  ChannelPruneOptions options;
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

TEST(ChannelPruner, IterationsReachTheSameTargetAndTheirHistoryIsOne) {
  const auto model = zoo("vgg11", 6), fresh = zoo("vgg11", 6);
  ChannelPruneOptions options;
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

TEST(ChannelPruner, PartOfTheWayIsPartOfWhatIsSaved) {
  const auto model = zoo("vgg11", 7);
  const WholeNetwork whole = whole_network(*model, input);
  ChannelPruneOptions options;
  options.target = {Target::speedup, 4};
  for (const double progress : {0.25, 0.5, 1.0}) {
    prune_channels(*model, input, whole, options, progress);
    const double left = static_cast<double>(macs(*model)) / static_cast<double>(whole.cost.macs);
    EXPECT_LE(left, 1 - 0.75 * progress);
    EXPECT_GE(left, 0.95 * (1 - 0.75 * progress));
  }
  const int64_t reached = macs(*model);
  prune_channels(*model, input, whole, options, 1.0);
  EXPECT_EQ(macs(*model), reached) << "there already";
}

TEST(ChannelPruner, WhatGoesInAnyCaseGoesBitByBit) {
  const auto model = zoo("vgg11", 7);
  const WholeNetwork whole = whole_network(*model, input);
  ChannelPruneOptions options;
  options.selection.scope = Scope::layer;
  options.selection.limits.min_ratio = 0.5;
  options.selection.overrides = {{{"features.0"}, {.min_ratio = 0.75}}};
  options.target = {Target::ratio, 0.125};
  for (const double progress : {0.0, 0.5, 1.0})
    for (const auto& group : prune_channels(*model, input, whole, options, progress).groups)
      EXPECT_EQ(static_cast<double>(group.before - group.after),
                (group.layer == "features.0" ? 0.75 : 0.5) * progress * static_cast<double>(group.before))
          << group.layer << " at " << progress;
}

TEST(ChannelPruner, WhatCannotBeReachedIsSaidAndNothingIsCut) {
  const auto model = zoo("vgg11", 8);
  const int64_t before = macs(*model);
  ChannelPruneOptions options;
  options.iterations = 3;
  options.selection.limits.max_ratio = 0.5;
  const std::string message = message_of<Error>([&] { prune_to(*model, {Target::speedup, 100}, options); });
  EXPECT_TRUE(message.starts_with("prune: speedup 100 cannot be reached: it is 3.")) << message;
  EXPECT_TRUE(
      message.ends_with("with every group of channels at its least width (see min_channels, "
                        "max_ratio and exclude)"))
      << message;
  EXPECT_EQ(macs(*model), before);
  options.target = {Target::speedup, 100};
  options.selection.limits.min_channels = 1;
  EXPECT_EQ(message_of<Error>([&] { check_prune_channels(*model, input, options); }), message);
  EXPECT_EQ(message_of<UsageError>([&] {
              prune_to(*model, {Target::ratio, 1.5});
            }),
            "prune: ratio is 1.5, expected 0..1");
}

TEST(ChannelPruner, ARatioThatLimitsForbidIsSaidAndNothingIsCut) {
  const auto model = zoo("vgg11", 8);  // 32, 64, 128, 128 and four times 256 channels
  const int64_t before = macs(*model);
  ChannelPruneOptions options;
  options.selection.limits.max_ratio = 0.5;
  options.target = {Target::ratio, 0.6};
  const std::string message = message_of<Error>([&] { check_prune_channels(*model, input, options); });
  EXPECT_EQ(
      message,
      "prune: ratio 0.6 cannot be reached: it is 0.5 with every group of channels at its least width (see "
      "min_channels, max_ratio and exclude)");
  EXPECT_EQ(message_of<Error>([&] { prune_channels(*model, input, whole_network(*model, input), options); }),
            message);
  options.target.value = 0.5;
  options.selection.limits = {.min_channels = 256};
  options.selection.include = {"features.18"};  // one of 256
  EXPECT_TRUE(message_of<Error>([&] {
                check_prune_channels(*model, input, options);
              }).starts_with("prune: ratio 0.5 cannot be reached: it is 0 with"));
  EXPECT_EQ(macs(*model), before);
  check_prune_channels(*model, input, options, false);
}

TEST(ChannelPruner, ARatioAtTheLimitIsReachedThoughGroupsAreRounded) {
  const auto model = zoo("vgg11", 8);
  ChannelPruneOptions options;
  options.selection.limits.max_ratio = 0.7;  // of 32, 64, .. channels: 22, 45, ..
  const auto result = prune_to(*model, {Target::ratio, 0.7}, options);
  for (const auto& group : result.groups)
    EXPECT_EQ(group.before - group.after, std::llround(0.7 * static_cast<double>(group.before)));
}

TEST(ChannelPruner, OneGroupAtItsLimitIsHeldAndTheOthersGoOn) {
  const auto model = zoo("vgg11", 8);
  ChannelPruneOptions options;
  options.selection.scope = Scope::layer;
  options.selection.overrides = {{{"features.0"}, {.min_channels = 30}}};
  const auto result = prune_to(*model, {Target::ratio, 0.5}, options);
  ASSERT_EQ(result.held.size(), 1u);
  EXPECT_EQ(result.held[0].layer, "features.0");
  EXPECT_EQ(result.held[0].kept, 30);
}

TEST(ChannelPruner, WhatIsHeldIsCountedFromTheFirstCut) {
  const auto model = zoo("vgg11", 8);
  ChannelPruneOptions options;
  options.selection.scope = Scope::layer;
  options.selection.overrides = {{{"features.0"}, {.min_channels = 30}}};
  options.iterations = 4;
  const auto result = prune_to(*model, {Target::ratio, 0.5}, options);
  ASSERT_EQ(result.held.size(), 1u);
  EXPECT_EQ(result.held[0].channels, 32);
  EXPECT_EQ(result.held[0].kept, 30);
  EXPECT_LT(result.held[0].wanted, 30);
}

TEST(ChannelPruner, MoreThanTheRatioGoesWhereLeastRatiosTakeIt) {
  for (const int64_t iterations : {1, 3}) {
    SmallNet net;  // as in LeNet-5: 20, 50 and 500 channels
    Conv2d &conv1 = net.conv("conv1", 3, 20), &conv2 = net.conv("conv2", 20, 50);
    Linear &fc1 = net.linear("fc1", 50, 500), &fc2 = net.linear("fc2", 500, 10);
    net.pass = [&](const Variable& x) {
      const Variable maps = relu(conv2.forward(relu(conv1.forward(x))));
      return fc2.forward(relu(fc1.forward(ops::global_average_pool(maps))));
    };
    randomize(net, 1);
    ChannelPruneOptions options;
    options.iterations = iterations;
    options.selection.overrides = {{{"fc1"}, {.min_channels = 1, .min_ratio = 0.8}}};
    const auto result = prune_to(net, {Target::ratio, 0.5}, options);
    ASSERT_TRUE(result.forced);
    EXPECT_EQ(result.forced->channels, 400);
    EXPECT_EQ(result.forced->asked, 285);
    EXPECT_EQ(result.forced->of, 570);
    for (const auto& group : result.groups)
      EXPECT_EQ(group.after, group.layer == "fc1" ? 100 : group.before) << group.layer;
    EXPECT_FALSE(prune_to(net, {Target::ratio, 0.9}, options).forced);
  }
}

TEST(ChannelPruner, AnErrorOnTheWayLeavesTheModelAsItWas) {
  const auto model = zoo("vgg11", 12), same = zoo("vgg11", 12);
  for (Module* one : {model.get(), same.get()}) prune_to(*one, {Target::ratio, 0.1});  // a history before
  for (Parameter* parameter : model->parameters()) {
    parameter->state["slot0"] = random_tensor(parameter->shape(), 13);
    parameter->state["average"] = random_tensor(parameter->shape(), 14);
    if (parameter->learned()) parameter->gradient() = random_tensor(parameter->shape(), 15);
    parameter->mask = Tensor::from(
        parameter->shape(), std::vector<uint8_t>(static_cast<size_t>(parameter->shape().elements()), 1));
  }
  ChannelPruneOptions options;
  options.scoring.criterion = criterion_named("taylor");
  options.iterations = 3;
  options.verify = random_tensor({4, 8, 8, 3}, 5);
  int asked = 0;
  options.signals = [&](Looks) {
    if (++asked == 3) fail("the data are gone");
    Signals signals;
    for (const Parameter* parameter : model->parameters())
      if (parameter->learned()) signals.tensors[parameter] = random_tensor(parameter->shape(), 11);
    return signals;
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

TEST(ChannelPruner, AWholeOfAnotherNetworkIsRefused) {
  const auto model = zoo("vgg11", 8);
  WholeNetwork whole = whole_network(*model, input);
  whole.channels.erase("features.0");
  EXPECT_EQ(message_of<Error>([&] {
              prune_channels(*model, input, whole, {.target = {Target::ratio, 0.5}});
            }),
            "prune: the channels of features.0 are 32 now, and 0 before the first cut");
}

TEST(ChannelPruner, LatencyIsWhatIsMeasured) {
  const auto model = zoo("vgg11", 9);
  ChannelPruneOptions options;
  WholeNetwork whole = whole_network(*model, input);
  options.latency_ms = [&](std::vector<AxisCut> cuts) {  // a machine on which a channel takes 1 ms
    cuts.insert(cuts.begin(), model->history.begin(), model->history.end());
    double ms = 0;
    for (const auto& [layer, channels] : whole.channels) ms += static_cast<double>(channels);
    for (const AxisCut& one : cuts)
      if (one.axis == 0 && one.parameter.ends_with(".weight") &&
          whole.channels.contains(std::string(layer_name(one.parameter))))
        ms -= static_cast<double>(one.before - static_cast<int64_t>(one.kept.size()));
    return ms;
  };
  const double all = options.latency_ms({});
  whole.latency_ms = all;
  options.target = {Target::latency_ms, all - 100};
  EXPECT_EQ(prune_channels(*model, input, whole, options, 0.25).latency_ms, all - 25) << "part of the way";
  EXPECT_EQ(prune_channels(*model, input, whole, options).latency_ms, all - 100);
  EXPECT_EQ(options.latency_ms({}), all - 100);
}

TEST(ChannelPruner, OnTheWayNothingHangsOnALatencysNoise) {
  const auto model = zoo("vgg11", 9);
  WholeNetwork whole = whole_network(*model, input);
  whole.latency_ms = 10;
  ChannelPruneOptions options;
  int64_t timings = 0;
  options.latency_ms = [&](const std::vector<AxisCut>& cuts) {  // now 12, with anything less 1
    ++timings;
    return cuts.empty() ? 12.0 : 1.0;
  };
  options.target = {Target::latency_ms, 5};
  EXPECT_TRUE(prune_channels(*model, input, whole, options, 0.0).cuts.empty()) << "nothing is asked for yet";
  options.target = {Target::latency_ms, 11};
  EXPECT_TRUE(prune_channels(*model, input, whole, options, 0.5).cuts.empty()) << "it had all from the start";
  EXPECT_GT(timings, 0);
  EXPECT_FALSE(prune_channels(*model, input, whole, options).cuts.empty()) << "the last word is a timing's";
}

TEST(ChannelPruner, WhatStopsItBetweenCutsLeavesTheModelAsItWas) {
  const auto model = zoo("vgg11", 9);
  const int64_t before = macs(*model);
  ChannelPruneOptions options;
  options.iterations = 3;
  int asked = 0;
  options.before_cut = [&] {
    if (++asked == 3) fail("stop");
  };
  EXPECT_EQ(message_of<Error>([&] { prune_to(*model, {Target::speedup, 2}, options); }), "stop");
  EXPECT_EQ(macs(*model), before);
  EXPECT_TRUE(model->history.empty());
}

TEST(ChannelPruner, SignalsAreAskedForWhereTheyAreLookedAt) {
  const auto model = zoo("resnet20", 10);
  ChannelPruneOptions options;
  int asked = 0;
  options.signals = [&](Looks looks) {
    EXPECT_EQ(looks, Looks::at_gradients);
    ++asked;
    Signals signals;
    for (const Parameter* parameter : model->parameters())
      if (parameter->learned()) signals.tensors[parameter] = random_tensor(parameter->shape(), 11);
    return signals;
  };
  options.iterations = 3;
  prune_to(*model, {Target::speedup, 2}, options);
  EXPECT_EQ(asked, 0);
  options.scoring.criterion = criterion_named("taylor");
  prune_to(*model, {Target::speedup, 2}, options);
  EXPECT_EQ(asked, 3);
}

}  // namespace
}  // namespace espalier

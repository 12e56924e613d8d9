#include "espalier/prune/goal.h"

#include <gtest/gtest.h>

#include "prune/zoo.h"

namespace espalier {
namespace {

TEST(Goal, ReachesATargetAndNoFurtherThanItMust) {
  for (const char* type : {"vgg11", "resnet20"})
    for (const Target::Kind kind : {Target::speedup, Target::macs, Target::parameters, Target::bytes}) {
      SCOPED_TRACE(join(type, " ", target_names()[kind]));
      const auto model = random_model(type, 1);
      const auto before = Network(*model, small_image).totals;
      const int64_t count = kind == Target::macs         ? before.macs
                            : kind == Target::parameters ? before.parameters
                                                         : before.bytes;
      const Target target{kind, kind == Target::speedup ? 3.0 : static_cast<double>(count) / 3};
      const auto result = prune_to(*model, target);
      const auto after = Network(*model, small_image).totals;
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

TEST(Goal, ARatioIsExact) {
  const auto model = random_model("vgg11", 2);
  int64_t before = 0, after = 0;
  for (const auto& group : prune_to(*model, {Target::ratio, 0.3}).layers) {
    before += group.units;
    after += group.left();
  }
  EXPECT_EQ(before - after, std::llround(0.3 * static_cast<double>(before)));
}

TEST(Goal, ScopeLayerTakesTheSameShareOfEach) {
  const auto model = random_model("resnet20", 3);
  PruneOptions options = cut_channels();
  options.selection.scope = scopes().named("layer");
  for (const auto& group : prune_to(*model, {Target::ratio, 0.5}, options).layers)
    EXPECT_EQ(group.left() * 2, group.units) << group.name;
}

TEST(Goal, ARatioWithMultiplesIsTheLeastSelectionThatReachesIt) {
  const Shape image{32, 32, 3};
  struct Case {
    double ratio;
    int64_t round_to;
    double max_share;
  };
  for (const auto& [ratio, round_to, max_share] :
       {Case{0.01, 8, 0.02}, {0.1, 8, 0.11}, {0.1, 32, 0.15}, {0.5, 16, 0.51}}) {
    SCOPED_TRACE(join(ratio, " by ", round_to));
    const auto model = make_model({.type = "resnet20", .input = image, .classes = 10}, 0);
    PruneOptions options = cut_channels();
    options.scoring.criterion = criteria().named("l1");
    options.selection.round_to = round_to;
    options.target = {Target::ratio, ratio};
    int64_t before = 0, gone = 0;
    for (const auto& group : prune(*model, image, original_network(*model, image), options).layers) {
      EXPECT_TRUE(group.left() == group.units || group.left() % round_to == 0) << group.name;
      before += group.units;
      gone += group.units - group.left();
    }
    EXPECT_GE(gone, std::llround(ratio * static_cast<double>(before)));
    EXPECT_LE(static_cast<double>(gone), max_share * static_cast<double>(before));
  }
}

TEST(Goal, PartOfTheWayIsPartOfWhatIsSaved) {
  const auto model = random_model("vgg11", 7);
  const OriginalNetwork original = original_network(*model, small_image);
  PruneOptions options = cut_channels();
  options.target = {Target::speedup, 4};
  for (const double progress : {0.25, 0.5, 1.0}) {
    prune(*model, small_image, original, options, progress);
    const double left = static_cast<double>(macs(*model)) / static_cast<double>(original.cost.macs);
    EXPECT_LE(left, 1 - 0.75 * progress);
    EXPECT_GE(left, 0.95 * (1 - 0.75 * progress));
  }
  const int64_t reached = macs(*model);
  prune(*model, small_image, original, options, 1.0);
  EXPECT_EQ(macs(*model), reached) << "there already";
}

TEST(Goal, WhatGoesInAnyCaseGoesBitByBit) {
  const auto model = random_model("vgg11", 7);
  const OriginalNetwork original = original_network(*model, small_image);
  PruneOptions options = cut_channels();
  options.selection.scope = scopes().named("layer");
  options.selection.limits.min_ratio = 0.5;
  options.selection.overrides = {{{"features.0"}, {.min_ratio = 0.75}}};
  options.target = {Target::ratio, 0.125};
  for (const double progress : {0.0, 0.5, 1.0})
    for (const auto& group : prune(*model, small_image, original, options, progress).layers)
      EXPECT_EQ(static_cast<double>(group.units - group.left()),
                (group.name == "features.0" ? 0.75 : 0.5) * progress * static_cast<double>(group.units))
          << group.name << " at " << progress;
}

TEST(Goal, WhatCannotBeReachedIsSaidAndNothingIsCut) {
  const auto model = random_model("vgg11", 8);
  const int64_t before = macs(*model);
  PruneOptions options = cut_channels();
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
  EXPECT_EQ(message_of<Error>([&] { check_prune(*model, small_image, options); }), message);
  EXPECT_EQ(message_of<UsageError>([&] {
              prune_to(*model, {Target::ratio, 1.5});
            }),
            "prune: ratio is 1.5, expected 0..1");
}

TEST(Goal, ARatioThatLimitsForbidIsSaidAndNothingIsCut) {
  const auto model = random_model("vgg11", 8);  // 32, 64, 128, 128 and four times 256 channels
  const int64_t before = macs(*model);
  PruneOptions options = cut_channels();
  options.selection.limits.max_ratio = 0.5;
  options.target = {Target::ratio, 0.6};
  const std::string message = message_of<Error>([&] { check_prune(*model, small_image, options); });
  EXPECT_EQ(
      message,
      "prune: ratio 0.6 cannot be reached: it is 0.5 with every group of channels at its least width (see "
      "min_channels, max_ratio and exclude)");
  EXPECT_EQ(
      message_of<Error>([&] { prune(*model, small_image, original_network(*model, small_image), options); }),
      message);
  options.target.value = 0.5;
  options.selection.limits = {.min_channels = 256};
  options.include = {"features.18"};  // one of 256
  EXPECT_TRUE(message_of<Error>([&] {
                check_prune(*model, small_image, options);
              }).starts_with("prune: ratio 0.5 cannot be reached: it is 0 with"));
  EXPECT_EQ(macs(*model), before);
  check_prune(*model, small_image, options, false);
}

TEST(Goal, ARatioAtTheLimitIsReachedThoughGroupsAreRounded) {
  const auto model = random_model("vgg11", 8);
  PruneOptions options = cut_channels();
  options.selection.limits.max_ratio = 0.7;  // of 32, 64, .. channels: 22, 45, ..
  const auto result = prune_to(*model, {Target::ratio, 0.7}, options);
  for (const auto& group : result.layers)
    EXPECT_EQ(group.units - group.left(), std::llround(0.7 * static_cast<double>(group.units)));
}

TEST(Goal, MoreThanTheRatioGoesWhereLeastRatiosTakeIt) {
  for (const int64_t iterations : {1, 3}) {
    SmallNet net;  // as in LeNet-5: 20, 50 and 500 channels
    Conv2d &conv1 = net.conv("conv1", 3, 20), &conv2 = net.conv("conv2", 20, 50);
    Linear &fc1 = net.linear("fc1", 50, 500), &fc2 = net.linear("fc2", 500, 10);
    net.pass = [&](const Variable& x) {
      const Variable maps = relu(conv2.forward(relu(conv1.forward(x))));
      return fc2.forward(relu(fc1.forward(ops::global_average_pool(maps))));
    };
    randomize(net, 1);
    PruneOptions options = cut_channels();
    options.iterations = iterations;
    options.selection.overrides = {{{"fc1"}, {.min_channels = 1, .min_ratio = 0.8}}};
    const auto result = prune_to(net, {Target::ratio, 0.5}, options);
    ASSERT_TRUE(result.forced);
    EXPECT_EQ(result.forced->units, 400);
    EXPECT_EQ(result.forced->asked, 285);
    EXPECT_EQ(result.forced->of, 570);
    for (const auto& group : result.layers)
      EXPECT_EQ(group.left(), group.name == "fc1" ? 100 : group.units) << group.name;
    EXPECT_FALSE(prune_to(net, {Target::ratio, 0.9}, options).forced);
  }
}

TEST(Goal, LatencyIsWhatIsMeasured) {
  const auto model = random_model("vgg11", 9);
  PruneOptions options = cut_channels();
  OriginalNetwork original = original_network(*model, small_image);
  options.latency_ms = [&](std::vector<AxisCut> cuts) {  // a machine on which a channel takes 1 ms
    cuts.insert(cuts.begin(), model->history.begin(), model->history.end());
    double ms = 0;
    for (const auto& [layer, channels] : original.channels) ms += static_cast<double>(channels);
    for (const AxisCut& one : cuts)
      if (one.axis == 0 && one.parameter.ends_with(".weight") &&
          original.channels.contains(std::string(layer_name(one.parameter))))
        ms -= static_cast<double>(one.before - static_cast<int64_t>(one.kept.size()));
    return ms;
  };
  const double all = options.latency_ms({});
  original.latency_ms = all;
  options.target = {Target::latency_ms, all - 100};
  EXPECT_EQ(prune(*model, small_image, original, options, 0.25).latency_ms, all - 25) << "part of the way";
  EXPECT_EQ(prune(*model, small_image, original, options).latency_ms, all - 100);
  EXPECT_EQ(options.latency_ms({}), all - 100);
}

TEST(Goal, OnTheWayNothingHangsOnALatencysNoise) {
  const auto model = random_model("vgg11", 9);
  OriginalNetwork original = original_network(*model, small_image);
  original.latency_ms = 10;
  PruneOptions options = cut_channels();
  int64_t timings = 0;
  options.latency_ms = [&](const std::vector<AxisCut>& cuts) {  // now 12, with anything less 1
    ++timings;
    return cuts.empty() ? 12.0 : 1.0;
  };
  options.target = {Target::latency_ms, 5};
  EXPECT_TRUE(prune(*model, small_image, original, options, 0.0).cuts.empty()) << "nothing is asked for yet";
  options.target = {Target::latency_ms, 11};
  EXPECT_TRUE(prune(*model, small_image, original, options, 0.5).cuts.empty()) << "it had all from the start";
  EXPECT_GT(timings, 0);
  EXPECT_FALSE(prune(*model, small_image, original, options).cuts.empty()) << "the last word is a timing's";
}

}  // namespace
}  // namespace espalier

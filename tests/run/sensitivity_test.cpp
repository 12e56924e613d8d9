#include "espalier/run/sensitivity.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "espalier/prune/pruner.h"
#include "espalier/run/build.h"
#include "espalier/run/pruning.h"
#include "espalier/train/evaluate.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

/// An untrained network, the digits that it is judged by, and all that belongs to it.
struct Subject {
  explicit Subject(const std::string& stages = R"({"name": "a", "evaluate": {}})",
                   std::vector<int64_t> hidden = {16})
      : config(small_config(stages, R"(, "train_images": 64, "test_images": 50)")) {
    config.model.hidden = std::move(hidden);
    data = build_data(config, {});
    model = build_model(config);
    for (Parameter* parameter : model->parameters())  // so that folding has something to move
      if (parameter->role == Role::bias) parameter->value() = random_tensor(parameter->shape(), 5, 0.1, 0.5);
  }
  Sensitivity measured(SensitivityOptions options) {
    return measure_sensitivity(config, *model, data.train, data.test, options);
  }
  Evaluation evaluated() {
    Loader loader = evaluation_loader(config, data.test);
    return evaluate(*model, loader, {.loss = *build_loss(config)});
  }
  std::vector<NamedState> state() const {
    std::vector<NamedState> all;
    for (const Parameter* parameter : model->parameters()) {
      all.push_back(parameter->tensors());
      for (auto& [name, tensor] : all.back()) tensor = tensor.clone();
    }
    return all;
  }

  Config config;
  DataSplits data;
  std::unique_ptr<Module> model;
};

/// Masks among them, which are no floats.
void expect_same_bits(const std::vector<NamedState>& a, const std::vector<NamedState>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].size(), b[i].size()) << "a mask or a state more or less";
    for (const auto& [name, tensor] : a[i]) {
      const Tensor& other = b[i].find(name)->second;
      ASSERT_EQ(tensor.shape(), other.shape());
      ASSERT_EQ(tensor.dtype(), other.dtype());
      EXPECT_EQ(std::memcmp(tensor.raw(), other.raw(), tensor.bytes()), 0) << i << " " << name;
    }
  }
}

TEST(Sensitivity, IsWhatPruningALayerByItselfComesTo) {
  for (const char* criterion : {"l1", "taylor"}) {
    SCOPED_TRACE(criterion);
    Subject subject;
    const Sensitivity found = subject.measured({.criterion = criterion, .shares = {0.5, 0.9}});
    EXPECT_EQ(found.loss, subject.evaluated().loss);
    EXPECT_EQ(found.accuracy, subject.evaluated().accuracy);
    ASSERT_EQ(found.layers.size(), 2u);
    EXPECT_EQ(found.layers[0].name, "fc1");
    EXPECT_EQ(found.layers[0].units, 784 * 16);
    EXPECT_EQ(found.layers[1].units, 160);
    for (const Sensitivity::Layer& layer : found.layers)
      for (size_t i = 0; i < 2; ++i) {
        const double share = found.shares[i];
        Subject other(join(R"({"name": "p", "prune": {"criterion": ")", criterion, R"(", "sparsity": )",
                           share, R"(, "include": [")", layer.name, R"("]}})"));
        const Pruning pruning(other.config, *other.config.stages[0].prune, *other.model, other.data.train);
        const PruneResult pruned = pruning.act(pruning.original());
        ASSERT_TRUE(layer.measured[i]);
        EXPECT_EQ(layer.measured[i]->share, share);
        EXPECT_EQ(layer.measured[i]->gone, pruned.total().pruned);
        EXPECT_EQ(layer.measured[i]->gone, std::llround(share * static_cast<double>(layer.units)));
        EXPECT_EQ(layer.measured[i]->loss, other.evaluated().loss) << layer.name << " " << share;
        EXPECT_EQ(layer.measured[i]->accuracy, other.evaluated().accuracy);
      }
    EXPECT_NE(found.layers[0].measured[1]->loss, found.loss) << "nothing was pruned";
  }
}

TEST(Sensitivity, LeavesTheNetworkAsItWasToTheBit) {
  for (const char* unit : {"weight", "filter", "column", "kernel", "channel"}) {
    SCOPED_TRACE(unit);
    Subject subject;
    prune(*subject.model, subject.config.model.input, {.target = {Target::sparsity, 0.3}});  // masks to keep
    const auto before = subject.state();
    const Sensitivity found = subject.measured({.unit = unit, .shares = {0.25, 0.5}});
    expect_same_bits(before, subject.state());
    EXPECT_TRUE(subject.model->history.empty());
    EXPECT_EQ(found.loss, subject.evaluated().loss);
    EXPECT_EQ(found.layers.size(), std::string(unit) == "filter" || std::string(unit) == "channel" ? 1u : 2u)
        << "filters and channels of the output stay";
  }
}

TEST(Sensitivity, OfChannelsIsOfTheNetworkThatACutLeaves) {
  Subject subject,
      cut(R"({"name": "c", "prune": {"unit": "channel", "criterion": "l1", "ratio": 0.5, "min_channels": 1}})");
  const Sensitivity found = subject.measured({.unit = "channel", .shares = {0.5}});
  const Pruning pruning(cut.config, *cut.config.stages[0].prune, *cut.model, cut.data.train);
  pruning.act(pruning.original());
  EXPECT_EQ(cut.model->find("fc1.weight")->shape()[0], 8);
  EXPECT_EQ(found.layers[0].measured[0]->gone, 8);
  EXPECT_NEAR(found.layers[0].measured[0]->loss, cut.evaluated().loss, 1e-5);
}

TEST(Sensitivity, WhatWouldLeaveNothingIsNotMeasured) {
  Subject subject(R"({"name": "a", "evaluate": {}})", {4});
  const Sensitivity found = subject.measured({.unit = "filter", .shares = {0.5, 0.9}});
  ASSERT_EQ(found.layers.size(), 1u);
  EXPECT_TRUE(found.layers[0].measured[0]);
  EXPECT_FALSE(found.layers[0].measured[1]) << "llround(3.6) = 4 of 4";
  EXPECT_EQ(to_json(found)["layers"][0]["measured"][1], Json());
  const Sensitivity channels = subject.measured({.unit = "channel", .shares = {0.5, 0.9}});
  EXPECT_TRUE(channels.layers[0].measured[0]);
  EXPECT_FALSE(channels.layers[0].measured[1]);
}

TEST(Sensitivity, ALayersNameMeansOnlyThatLayer) {  // fc1 is not fc10
  Subject subject(R"({"name": "a", "evaluate": {}})", std::vector<int64_t>(9, 6));
  const Sensitivity found = subject.measured({.shares = {0.5}});
  ASSERT_EQ(found.layers.size(), 10u);
  EXPECT_EQ(found.layers[0].measured[0]->gone, 784 * 6 / 2);
  EXPECT_EQ(found.layers[9].measured[0]->gone, 30);
}

TEST(Sensitivity, TellsHowFarItIsAndMayBeStopped) {
  Subject subject;
  std::vector<std::string> told;
  subject.measured({.shares = {0.5, 0.9}, .progress = [&](const SensitivityProgress& now) {
                      told.push_back(join(now.done, "/", now.total, " ", now.layer));
                    }});
  EXPECT_EQ(told, (std::vector<std::string>{"0/4 fc1", "1/4 fc1", "2/4 fc2", "3/4 fc2"}));
  const auto before = subject.state();
  EXPECT_EQ(message_of([&] {
              subject.measured({.progress = [](const SensitivityProgress& now) {
                if (now.done == 3) fail("enough");
              }});
            }),
            "enough");
  expect_same_bits(before, subject.state());
}

TEST(Sensitivity, RefusesWhatHasNoShares) {
  Subject subject;
  EXPECT_TRUE(
      message_of<UsageError>([&] {
        subject.measured({.unit = "layer"});
      }).starts_with("unit: found 'layer', expected one of weight, filter, row, column, kernel, channel"));
  EXPECT_TRUE(contains(message_of<UsageError>([&] { subject.measured({.criterion = "fpgm"}); }),
                       "criterion fpgm goes by the distances"));
  EXPECT_TRUE(contains(message_of([&] { subject.measured({.unit = "channel", .criterion = "bn_scale"}); }),
                       "criterion bn_scale goes by batch norms, and there is none after fc1"));
}

TEST(EvenlyChosen, IsSpreadOverAll) {
  const Dataset all = columns(10, 3);
  const Dataset some = evenly_chosen(all, 4);  // 0, 2, 5, 7
  EXPECT_EQ(some.labels, (std::vector<int32_t>{all.labels[0], all.labels[2], all.labels[5], all.labels[7]}));
  EXPECT_EQ(some.name, all.name);
  EXPECT_EQ(evenly_chosen(all, 99).labels, all.labels);
}

Sensitivity hand_made(const std::string& unit) {
  return {
      .unit = unit,
      .shares = {0.5, 0.9},
      .accuracy = 97.5,
      .loss = 0.1,
      .layers = {
          {.name = "conv1",
           .units = 1200,
           .measured = {Sensitivity::Measured{0.5, 600, 97.25, 0.11},
                        Sensitivity::Measured{0.9, 1080, 40, 2.5}}},
          {.name = "fc", .units = 4, .measured = {Sensitivity::Measured{0.5, 2, 97.5, 0.1}, std::nullopt}},
          {.name = "bad", .units = 10, .measured = {Sensitivity::Measured{0.5, 5, 10, 9}, std::nullopt}}}};
}

TEST(Sensitivity, LargestSharesAreThoseWithinTheLoss) {
  using Shares = std::vector<std::pair<std::string, double>>;
  EXPECT_EQ(largest_shares(hand_made("weight"), 0.11), (Shares{{"conv1", 0.5}, {"fc", 0.5}, {"bad", 0}}));
  EXPECT_EQ(largest_shares(hand_made("weight"), 2.5), (Shares{{"conv1", 0.9}, {"fc", 0.5}, {"bad", 0}}));
  EXPECT_EQ(prune_fields(hand_made("weight"), 0.11).dump(),
            R"({"sparsity_of":{"conv1":0.5,"fc":0.5,"bad":0.0}})");
  EXPECT_EQ(prune_fields(hand_made("channel"), 0.11).dump(),
            R"({"overrides":[{"layers":["conv1"],"max_ratio":0.5},{"layers":["fc"],"max_ratio":0.5},)"
            R"({"layers":["bad"],"max_ratio":0.0}]})");
}

TEST(Sensitivity, FieldsOfChannelsGoIntoAConfig) {
  Json prune = {{"unit", "channel"}, {"criterion", "l1"}, {"ratio", 0.5}};
  prune.update(prune_fields(hand_made("channel"), 0.11));
  const Json stage = {{"name", "p"}, {"prune", prune}};
  const Config config = small_config(stage.dump());
  ASSERT_EQ(config.stages[0].prune->overrides.size(), 3u);
  EXPECT_EQ(config.stages[0].prune->overrides[0].max_ratio, 0.5);
}

TEST(Sensitivity, TablesHaveAColumnForEachShare) {
  EXPECT_EQ(accuracy_table(hand_made("weight"), 80),
            "layer  weights    0.5    0.9\n"
            "conv1    1,200   0.25  57.50\n"
            "fc           4   0.00      -\n"
            "bad         10  87.50      -\n");
  EXPECT_EQ(loss_table(hand_made("filter"), 80),
            "layer  filters     0.5     0.9\n"
            "conv1    1,200  0.1100  2.5000\n"
            "fc           4  0.1000       -\n"
            "bad         10  9.0000       -\n");
}

}  // namespace
}  // namespace espalier

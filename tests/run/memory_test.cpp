#include "espalier/run/memory.h"

#include <gtest/gtest.h>

#include "espalier/channels/surgery.h"
#include "espalier/core/allocator.h"
#include "espalier/nn/module.h"
#include "espalier/run/build.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/plan.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

const std::string adam =
    R"({"name": "a", "train": {"epochs": 2, "ema": 0.9, "optimizer": {"type": "adam", "lr": 0.1}}})";

TEST(PlanMemory, CountsFromShapesWhatARunTakes) {
  const Config config = small_config(adam);
  const size_t used = allocator::stats().used_bytes, peak = allocator::stats().peak_bytes;
  const MemoryPlan plan = plan_memory(config);
  EXPECT_EQ(allocator::stats().used_bytes, used);
  EXPECT_EQ(allocator::stats().peak_bytes, peak);
  const double parameters = 4 * (784 * 16 + 16 + 160 + 10);
  EXPECT_EQ(plan.data, 10000 * 784);
  EXPECT_EQ(plan.parameters, 2 * parameters);
  EXPECT_EQ(plan.gradients, parameters);
  EXPECT_EQ(plan.optimizer, 2 * parameters);
  EXPECT_EQ(plan.activations, 100 * 4 * (784 + 16 + 10));
  EXPECT_EQ(plan.total(), plan.data + 5 * parameters + plan.activations);
  EXPECT_EQ(
      plan.text(),
      "8.42 MB: data 7.84 MB, parameters 102 kB, gradients 50.9 kB, optimizer 102 kB, activations of a batch "
      "324 kB");
}

TEST(PlanMemory, SaysWhichBatchWouldFit) {
  const MemoryPlan plan = plan_memory(small_config(adam));
  EXPECT_EQ(plan.batch, 100);
  const double image = plan.activations / 100;
  EXPECT_EQ(plan.batch_within(plan.total()), 100);
  EXPECT_EQ(plan.batch_within(plan.total() - 9.5 * image), 90);
  EXPECT_EQ(plan.batch_within(plan.total() + 1000 * image), 1100);
  EXPECT_EQ(plan.batch_within(plan.parameters), 0);
}

TEST(PlanMemory, IsThePlanThatTrialsOnRealNumbersMake) {
  for (const char* type : {"lenet5", "resnet20"}) {
    Config config = small_config(adam, R"(, "train_images": 20, "test_images": 10)");
    config.model.type = type;
    config.model.input = {32, 32, 1};
    config.model.width = 0.1;
    config.data.batch = 5;
    const DataSplits data = build_data(config, {});
    const MemoryPlan shapes = plan_memory(config, &data), trial = make_plan(config, data).memory;
    EXPECT_EQ(shapes.text(), trial.text()) << type;
    EXPECT_EQ(shapes.total(), trial.total()) << type;
  }
}

TEST(PlanMemory, WhatAStageWillCutIsNotKnown) {
  const std::string cut = R"({"name": "cut", "prune": {"unit": "channel", "ratio": 0.5}}, )";
  EXPECT_EQ(plan_memory(small_config(cut + adam)).optimizer, 0);
}

TEST(PlanMemory, WhereChannelsAreCutTheWholeNetworkIsTimedBesideIt) {
  const double parameters = 4 * (784 * 16 + 16 + 160 + 10);
  const std::string cut = R"({"name": "cut", "prune": {"unit": "channel", "ratio": 0.5}})";
  const std::string on_the_way =
      R"({"name": "cut", "train": {"epochs": 2, "ema": 0.9, "optimizer": {"type": "sgd", "lr": 0.1},
          "prune": {"unit": "channel", "ratio": 0.5, "schedule": {"type": "one_shot", "begin": 2}}}})";
  for (const auto& [stages, networks] : std::vector<std::pair<std::string, int>>{
           {R"({"name": "masked", "prune": {"sparsity": 0.5}})", 1}, {cut, 2}, {on_the_way, 3}}) {
    const Config config = small_config(stages, R"(, "train_images": 200, "test_images": 10)");
    const DataSplits data = build_data(config, {});
    EXPECT_EQ(plan_memory(config, &data).parameters, networks * parameters) << stages;
    EXPECT_EQ(make_plan(config, data).memory.total(), plan_memory(config, &data).total()) << stages;
  }
}

/// The model of `config`, a perceptron, with every other of its 16 hidden units.
std::unique_ptr<Module> half(const Config& config) {
  auto model = build_model(config);
  const std::vector<int64_t> kept{0, 2, 4, 6, 8, 10, 12, 14};
  cut(*model, {{"fc1.weight", 0, 16, kept}, {"fc1.bias", 0, 16, kept}, {"fc2.weight", 1, 16, kept}});
  return model;
}

TEST(PlanMemory, OfWeightsCountsTheShapesInTheirHeader) {
  const TemporaryFolder folder;
  Config config = small_config(adam), narrow = config;
  narrow.model.hidden = {8};
  config.model.weights = (folder.path() / "w.safetensors").string();

  save_weights(*config.model.weights, *build_model(small_config(adam)), config, {});
  EXPECT_EQ(plan_memory(config).text(), plan_memory(small_config(adam)).text());

  const auto cut_model = half(small_config(adam));
  save_weights(*config.model.weights, *cut_model, config, {});
  const size_t used = allocator::stats().used_bytes, peak = allocator::stats().peak_bytes;
  EXPECT_EQ(plan_memory(config).text(), plan_memory(narrow).text());
  EXPECT_EQ(allocator::stats().used_bytes, used);
  EXPECT_EQ(allocator::stats().peak_bytes, peak);

  Parameter& masked = *cut_model->find("fc2.weight");
  masked.set_mask(Tensor::zeros(masked.shape(), DType::u8));
  save_weights(*config.model.weights, *cut_model, config, {});
  EXPECT_EQ(plan_memory(config).parameters, plan_memory(narrow).parameters + 8 * 10);
  const DataSplits data = build_data(config, {});
  EXPECT_EQ(plan_memory(config, &data).text(), make_plan(config, data).memory.text());
}

TEST(PlanMemory, OfACheckpointCountsFromItsStage) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "checkpoint.safetensors";
  const Config config =
      small_config(R"({"name": "cut", "prune": {"unit": "channel", "ratio": 0.5}}, )" + adam);
  Config narrow = small_config(adam);
  narrow.model.hidden = {8};
  save_checkpoint(file, *half(config), config, {{.stage = 1}}, {});
  EXPECT_EQ(plan_memory(config, nullptr, file).text(), plan_memory(narrow).text());
  save_checkpoint(file, *half(config), config, {{.stage = 2}}, {});
  EXPECT_EQ(plan_memory(config, nullptr, file).optimizer, 0) << "there is nothing left to train";
}

TEST(PlanMemory, RefusesWeightsOfOtherShapesBeforeAModelIsMade) {
  const TemporaryFolder folder;
  Config config = small_config(adam);
  save_weights(folder.path() / "w.safetensors", *build_model(config), config, {});
  const std::string file = (folder.path() / "w.safetensors").string();
  config.model.weights = file;
  config.model.hidden = {100'000};
  const size_t peak = allocator::stats().peak_bytes;
  const std::string message = file + ": 'fc1.weight' has shape [16, 784], the model's is [100000, 784]";
  EXPECT_EQ(message_of([&] { plan_memory(config); }), message);
  EXPECT_EQ(message_of([&] { build_model(config); }), message);
  EXPECT_EQ(message_of([&] { open_checkpoint(file, {"model.hidden=[100000]"}); }), message);
  EXPECT_EQ(allocator::stats().peak_bytes, peak);
}

TEST(CheckMemory, RefusesWhatNoMachineHas) {
  Config config = small_config(adam);
  check_memory(config);
  config.model.hidden = {1'000'000, 1'000'000};
  const std::string message = message_of([&] { check_memory(config); });
  EXPECT_TRUE(contains(message, "small.json: a run needs about 20.0 TB: data 7.84 MB, parameters 8.0 TB,"))
      << message;
  EXPECT_TRUE(contains(message, "; ")) << message;
}

TEST(PlanMemory, WhatIsFrozenHasNoGradientsSlotsAndAverages) {
  std::string stage = adam;
  const MemoryPlan all = plan_memory(small_config(stage));
  stage.insert(stage.find("\"ema\""), R"("freeze": ["fc1"], )");
  Config config = small_config(stage, R"(, "train_images": 200, "test_images": 10)");
  const DataSplits data = build_data(config, {});
  const MemoryPlan frozen = plan_memory(config, &data);
  const double fc1 = 4 * (784 * 16 + 16);
  EXPECT_EQ(frozen.parameters, all.parameters - fc1);
  EXPECT_EQ(frozen.gradients, all.gradients - fc1);
  EXPECT_EQ(frozen.optimizer, all.optimizer - 2 * fc1);
  EXPECT_EQ(make_plan(config, data).memory.total(), frozen.total());
}

TEST(PlanMemory, MovementKeepsANumberForEachThatIsLearned) {
  const auto pruned_by = [](const std::string& criterion) {
    return small_config(
        R"({"name": "sparse", "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 0.1},
            "prune": {"sparsity": 0.5, "criterion": ")" +
            criterion + R"(", "schedule": {"type": "cubic"}}}})",
        R"(, "train_images": 200, "test_images": 10)");
  };
  const Config movement = pruned_by("movement");
  const DataSplits data = build_data(movement, {});
  const double numbers = 784 * 16 + 16 + 16 * 10 + 10;
  EXPECT_EQ(plan_memory(movement, &data).total(), plan_memory(pruned_by("l1"), &data).total() + 4 * numbers);
  EXPECT_EQ(make_plan(movement, data).memory.total(), plan_memory(movement, &data).total());
}

TEST(PlanMemory, BelowTheLowestLayerThatLearnsNoActivationsAreKept) {
  const auto activations = [](const std::string& freeze) {
    Config config = small_config(adam);
    config.model.type = "lenet5";
    config.stages[0].train->freeze = {freeze};
    return plan_memory(config).activations / 400;  // numbers of an image
  };
  const double conv1 = 24 * 24 * 20, pool1 = 12 * 12 * 20, conv2 = 8 * 8 * 50, pool2 = 4 * 4 * 50;
  EXPECT_EQ(activations("fc2"), 784 + conv1 + pool1 + conv2 + pool2 + 500 + 10) << "they pass it on";
  EXPECT_EQ(activations("conv1"), pool1 + conv2 + pool2 + 500 + 10 + std::max(784 + conv1, conv1));
  EXPECT_EQ(activations("conv?"), pool2 + 500 + 10 + std::max(784 + conv1, conv1 + pool1));
}

}  // namespace
}  // namespace espalier

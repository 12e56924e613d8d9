#include "espalier/train/memory.h"

#include <gtest/gtest.h>

#include "espalier/core/allocator.h"
#include "espalier/train/build.h"
#include "espalier/train/plan.h"
#include "support/bad_input.h"
#include "train/small.h"

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
  EXPECT_EQ(plan.slots, 2 * parameters);
  EXPECT_EQ(plan.activations, 100 * 4 * (784 + 16 + 10));
  EXPECT_EQ(plan.total(), plan.data + 5 * parameters + plan.activations);
  EXPECT_EQ(
      plan.text(),
      "8.42 MB: data 7.84 MB, parameters 102 kB, gradients 50.9 kB, optimizer 102 kB, activations of a batch "
      "324 kB");
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

TEST(PlanMemory, WhatMayHaveBeenCutIsNotKnown) {
  const std::string cut = R"({"name": "cut", "prune": {"unit": "channel", "ratio": 0.5}}, )";
  EXPECT_EQ(plan_memory(small_config(cut + adam)).slots, 0);
  Config config = small_config(adam);
  config.model.weights = "w.safetensors";
  EXPECT_EQ(plan_memory(config).parameters, 0);
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

}  // namespace
}  // namespace espalier

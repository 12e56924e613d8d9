// What is found out of a config is tested by tests/cli/check_test.py; here what is kept from one to the next.
#include "espalier/run/parts.h"

#include <gtest/gtest.h>

#include "run/small.h"

namespace espalier {
namespace {

const std::string evaluating = R"({"name": "a", "evaluate": {}})";

TEST(DataMemo, ReadsOnceWhatConfigsHaveInCommon) {
  DataMemo memo;
  const auto images = [&](const Config& config) {
    return memo.of(config, std::nullopt, {}).train.images.data<uint8_t>();
  };
  Config first = small_config(evaluating, R"(, "train_images": 100, "test_images": 20)"), other = first;
  const uint8_t* const kept = images(first);
  other.stages.front().name = "b";
  other.model.hidden = {3};
  EXPECT_EQ(images(other), kept);
  const DataSplits held = memo.of(first, std::nullopt, {});  // so that no memory is used again
  other.data.train_images = 50;
  EXPECT_NE(images(other), kept);
  EXPECT_EQ(memo.of(other, std::nullopt, {}).train.size(), 50);
  EXPECT_EQ(memo.of(first, std::nullopt, {}).train.size(), 100);
}

TEST(DataMemo, WhatIsHeldOutDependsOnTheSeed) {
  DataMemo memo;
  Config config = small_config(evaluating, R"(, "train_images": 100, "test_images": 20, "validation": 0.5)");
  const std::vector<int32_t> before = memo.of(config, std::nullopt, {}).validation.labels;
  config.seed = 1;
  EXPECT_NE(memo.of(config, std::nullopt, {}).validation.labels, before);
  EXPECT_EQ(memo.of(config, std::nullopt, {}).validation.labels,
            build_data(config, std::nullopt).validation.labels);
}

TEST(DataMemo, APartOfAConfigIsCheckedWithIt) {
  DataMemo memo;
  for (int times = 0; times < 2; ++times) {
    Config config = small_config(evaluating, R"(, "train_images": 100, "test_images": 20)");
    Mistakes mistakes;
    const Parts parts = check_parts(config, std::nullopt, mistakes, {}, &memo);
    EXPECT_TRUE(mistakes.empty());
    EXPECT_EQ(parts.data->train.size(), 100);
    EXPECT_EQ(parts.batches, 1);
  }
}

}  // namespace
}  // namespace espalier

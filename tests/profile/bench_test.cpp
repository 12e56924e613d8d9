#include "espalier/profile/bench.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace espalier {
namespace {

const ModelOptions small{.type = "mlp", .input = {28, 28, 1}, .classes = 10, .hidden = {16}};

TEST(Bench, TrainsAndInfersForTheTimeItIsGiven) {
  const auto model = make_model(small, 0);
  const BenchOptions options{.model = small, .batch = 8, .seconds = 0.05};
  for (const BenchResult& result : {bench_train(options, *model), bench_infer(options, *model)}) {
    EXPECT_EQ(result.macs, 784 * 16 + 160);
    EXPECT_GE(result.milliseconds.size(), 3u);
    EXPECT_TRUE(std::is_sorted(result.milliseconds.begin(), result.milliseconds.end()));
    const auto json = to_json(result);
    for (const char* key : {"model", "mode", "batch", "threads", "isa", "device", "card", "precision", "macs",
                            "images_per_second", "milliseconds", "peak_memory_bytes"})
      EXPECT_TRUE(json.contains(key)) << key;
    EXPECT_NEAR(
        json["images_per_second"]["median"].get<double>() * json["milliseconds"]["median"].get<double>(),
        8000.0, 1e-6);
    EXPECT_GT(json["peak_memory_bytes"], 1 << 20);
  }
}

TEST(Bench, TrainsTheModelItIsGiven) {
  const auto model = make_model(small, 0), untouched = make_model(small, 0);
  model->set_training(false);
  bench_train({.model = small, .batch = 8, .seconds = 0.01}, *model);
  EXPECT_TRUE(model->training());
  const Tensor &bias = model->find("fc1.bias")->value(), &before = untouched->find("fc1.bias")->value();
  EXPECT_FALSE(std::ranges::equal(bias.span<float>(), before.span<float>()));
}

}  // namespace
}  // namespace espalier

#include "espalier/train/evaluate.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "run/small.h"

namespace espalier {
namespace {

/// Logits that are the four pixels of an image's first row, times ten.
struct FirstRow : Module {
  Variable forward(const Variable& x) override {
    Tensor logits = Tensor::empty({x.shape()[0], 4});
    for (int64_t n = 0; n < x.shape()[0]; ++n)
      for (int64_t c = 0; c < 4; ++c) logits.f32()[n * 4 + c] = 10 * x.value().f32()[n * 16 + c];
    return Variable(logits);
  }
  std::string type() const override { return "first_row"; }
};

TEST(Evaluate, CountsOverAllBatchesTheShortOneToo) {
  Dataset data = columns(7, 1);
  uint8_t* pixels = data.images.data<uint8_t>();
  std::fill(pixels, pixels + 7 * 16, 0);
  for (int64_t n = 0; n < 7; ++n) {
    data.labels[n] = 2;
    pixels[n * 16 + (n < 3 ? 2 : 1)] = 255;  // the first three are right
  }
  FirstRow model;
  Loader loader(data, {.batch = 4});
  const Evaluation e = evaluate(model, loader);
  EXPECT_DOUBLE_EQ(e.accuracy, 300.0 / 7);
  EXPECT_DOUBLE_EQ(e.top5, 100.0);
  const double all = std::log(std::exp(10.0) + 3);
  EXPECT_NEAR(e.loss, (3 * (all - 10) + 4 * all) / 7, 1e-5);
}

TEST(Evaluate, ConfusionHasARowForEachClass) {
  Dataset data = columns(6, 1);
  uint8_t* pixels = data.images.data<uint8_t>();
  std::fill(pixels, pixels + 6 * 16, 0);
  const int32_t labels[] = {0, 0, 0, 2, 2, 3}, taken_for[] = {0, 1, 1, 2, 0, 3};
  for (int64_t n = 0; n < 6; ++n) {
    data.labels[n] = labels[n];
    if (n != 4) pixels[n * 16 + taken_for[n]] = 255;  // image 4 is black: all equal, the first class wins
  }
  FirstRow model;
  Loader loader(data, {.batch = 4});
  const Evaluation e = evaluate(model, loader);
  EXPECT_EQ(e.outputs, 4);
  EXPECT_EQ(e.confusion, (std::vector<int64_t>{1, 2, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1}));
  EXPECT_DOUBLE_EQ(e.accuracy, 50.0);
}

TEST(Evaluate, FlipTakesTheMeanLogitsOfImageAndMirrorImage) {
  Dataset data = columns(2, 1);
  uint8_t* pixels = data.images.data<uint8_t>();
  std::fill(pixels, pixels + 2 * 16, 0);
  pixels[0] = 255, pixels[1] = 102;   // class 0 by 10 to 4; with its mirror image 5, 2, 2, 5
  pixels[17] = 255, pixels[18] = 51;  // 0, 10, 2, 0: 0, 6, 6, 0
  data.labels = {3, 2};
  FirstRow model;
  Loader loader(data, {.batch = 2, .shuffle = false});
  EXPECT_NEAR(
      evaluate(model, loader).loss,
      (std::log(std::exp(10.0) + std::exp(4.0) + 2) + std::log(std::exp(10.0) + std::exp(2.0) + 2) - 2) / 2,
      1e-4);
  EXPECT_NEAR(evaluate(model, loader, {.flip = true}).loss,
              (std::log(2 * std::exp(5.0) + 2 * std::exp(2.0)) - 5 + std::log(2 * std::exp(6.0) + 2) - 6) / 2,
              1e-4);
}

/// Is held up in two of three passes, as by other processes.
struct HeldUp : FirstRow {
  Variable forward(const Variable& x) override {
    if (passes++ % 3 != 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return FirstRow::forward(x);
  }
  int passes = 0;
};

TEST(Latency, IsThatOfUndisturbedPasses) {
  HeldUp model;
  EXPECT_LT(latency_ms(model, {4, 4, 1}), 2.5);
}

TEST(Evaluate, LeavesTheModelInTheModeItWasIn) {
  const Dataset data = columns(4, 1);
  FirstRow model;
  Loader loader(data, {.batch = 4});
  model.set_training(true);
  evaluate(model, loader);
  EXPECT_TRUE(model.training());
  EXPECT_GT(latency_ms(model, {4, 4, 1}), 0.0);
  EXPECT_TRUE(model.training());
}

}  // namespace
}  // namespace espalier

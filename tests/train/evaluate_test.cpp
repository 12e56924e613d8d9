#include "espalier/train/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "train/small.h"

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

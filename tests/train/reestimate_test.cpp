#include "espalier/train/reestimate.h"

#include <gtest/gtest.h>

#include "espalier/nn/norm.h"
#include "run/small.h"
#include "support/numbers.h"

namespace espalier {
namespace {

/// Its logits are its images, normalised.
struct Norm : Module {
  Norm() : norm(add_child<BatchNorm2d>("norm", 1)) {}
  Variable forward(const Variable& x) override { return norm.forward(x); }
  std::string type() const override { return "test"; }
  BatchNorm2d& norm;
};

struct Statistics {
  double mean = 0, variance = 0;
};

/// The mean over batches of each one's mean and unbiased variance.
Statistics mean_statistics(Loader& loader, int64_t batches) {
  Statistics sum;
  Batch batch;
  for (int64_t i = 0, epoch = 0; i < batches; ++i) {
    if (i == 0 || !loader.next(batch)) {
      loader.start_epoch(epoch++);
      loader.next(batch);
    }
    const Doubles x = doubles(batch.images.span<float>());
    const auto n = static_cast<double>(x.size());
    double mean = 0, squares = 0;
    for (double each : x) mean += each / n;
    for (double each : x) squares += (each - mean) * (each - mean);
    sum.mean += mean / static_cast<double>(batches);
    sum.variance += squares / (n - 1) / static_cast<double>(batches);
  }
  return sum;
}

TEST(Reestimate, StatisticsAreTheMeanOverBatches) {
  const Dataset data = columns(25, 1);
  Loader loader(data, {.batch = 10, .seed = 2});
  for (const int64_t batches : {1, 3, 5}) {  // 5: into the second epoch
    Norm model;
    model.set_training(false);
    model.find("norm.running_mean")->value().fill(1e6f);
    model.find("norm.weight")->value().fill(3.0f);
    reestimate_norm(model, loader, batches);
    const Statistics expected = mean_statistics(loader, batches);
    EXPECT_NEAR(model.find("norm.running_mean")->value().f32()[0], expected.mean, 1e-6);
    EXPECT_NEAR(model.find("norm.running_var")->value().f32()[0], expected.variance, 1e-6);
    EXPECT_EQ(*model.find("norm.num_batches_tracked")->value().data<int64_t>(), batches);
    EXPECT_EQ(model.find("norm.weight")->value().f32()[0], 3.0f);
    EXPECT_FALSE(model.training());
    EXPECT_FALSE(model.find("norm.weight")->gradient().defined());
  }
}

TEST(Reestimate, LaterTrainingMovesStatisticsByATenthAgain) {
  const Dataset data = columns(25, 1);
  Loader loader(data, {.batch = 25});
  Norm model;
  reestimate_norm(model, loader, 1);
  const double before = model.find("norm.running_mean")->value().f32()[0];
  model.forward(Variable(Tensor::full({2, 4, 4, 1}, 10.0f)));
  EXPECT_NEAR(model.find("norm.running_mean")->value().f32()[0], 0.9 * before + 1.0, 1e-6);
}

}  // namespace
}  // namespace espalier

#include "espalier/nn/norm.h"

#include <gtest/gtest.h>

#include "espalier/nn/layers.h"
#include "espalier/nn/network.h"
#include "espalier/nn/state_dict.h"
#include "support/numbers.h"

namespace espalier {
namespace {

TEST(BatchNorm2d, HasPyTorchsParametersAndBuffers) {
  BatchNorm2d norm(3);
  const auto all = norm.parameters();
  const std::vector<std::string> names{"weight", "bias", "running_mean", "running_var",
                                       "num_batches_tracked"};
  ASSERT_EQ(all.size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(all[i]->name, names[i]);
  EXPECT_EQ(all[0]->value().span<float>()[2], 1.0f);
  EXPECT_EQ(all[3]->value().span<float>()[2], 1.0f);
  EXPECT_EQ(all[4]->shape(), Shape{});
  EXPECT_EQ(all[4]->value().dtype(), DType::i64);
  EXPECT_TRUE(all[0]->learned() && all[1]->learned());
  EXPECT_FALSE(all[2]->learned() || all[3]->learned() || all[4]->learned());
}

TEST(BatchNorm2d, CountsTrainingBatchesAndMovesItsStatistics) {
  BatchNorm2d norm(2);
  const Variable x(random_tensor({4, 3, 3, 2}, 1, 1.0, 2.0));
  norm.forward(x);
  norm.forward(x);
  EXPECT_EQ(*norm.find("num_batches_tracked")->value().data<int64_t>(), 2);
  const float moved = norm.find("running_mean")->value().f32()[0];
  EXPECT_NEAR(moved, 1.5 * (1 - 0.81), 0.05);
  norm.set_training(false);
  const Variable y = norm.forward(x);
  EXPECT_EQ(*norm.find("num_batches_tracked")->value().data<int64_t>(), 2);
  EXPECT_EQ(norm.find("running_mean")->value().f32()[0], moved);
  const float variance = norm.find("running_var")->value().f32()[0];
  EXPECT_NEAR(y.value().f32()[0], (x.value().f32()[0] - moved) / std::sqrt(variance + 1e-5f), 1e-5);
}

TEST(BatchNorm2d, ItsStateGoesThroughAStateDict) {
  BatchNorm2d norm(2), other(2);
  norm.forward(Variable(random_tensor({4, 3, 3, 2}, 1)));
  load_state_dict(other, state_dict(norm), "test");
  EXPECT_EQ(*other.find("num_batches_tracked")->value().data<int64_t>(), 1);
  EXPECT_TRUE(same_bits(other.find("running_var")->value(), norm.find("running_var")->value()));
}

struct ConvNorm : Module {
  ConvNorm()
      : conv(add_child<Conv2d>("conv", 1, 4, 3, ops::Conv2dOptions{1, 1})),
        norm(add_child<BatchNorm2d>("norm", 4)) {}
  Variable forward(const Variable& x) override { return conv.forward(x, norm, Activation::relu); }
  std::string type() const override { return "test"; }
  Conv2d& conv;
  BatchNorm2d& norm;
};

TEST(BatchNorm2d, IsARowOfTheNetworkWithoutWeights) {
  ConvNorm model;
  const Network network(model, {5, 5, 1});
  ASSERT_EQ(network.layers.size(), 2u);
  EXPECT_EQ(network.layers[1].type, "batch_norm");
  EXPECT_EQ(network.layers[0].shape, (Shape{4, 1, 3, 3}));
  EXPECT_EQ(network.layers[1].shape, Shape{4});
  EXPECT_EQ(network.layers[1].parameters, 8);
  EXPECT_EQ(network.layers[1].weights, 0);
  EXPECT_EQ(network.layers[1].macs, 0);
  EXPECT_EQ(network.totals.parameters, 40 + 8);
  EXPECT_EQ(network.totals.macs, 25 * 36);
  EXPECT_EQ(*model.norm.find("norm.num_batches_tracked")->value().data<int64_t>(), 0)
      << "inspecting trains nothing";
}

}  // namespace
}  // namespace espalier

#include "espalier/nn/models/conv_norm.h"

#include <gtest/gtest.h>

#include "support/numbers.h"

namespace espalier {
namespace {

// In inference, with statistics 0 and 1, a norm only divides by sqrt(1 + eps).
TEST(ConvNorm, ByItsOps) {
  ConvNorm layer(4, 6, 5, Activation::hard_swish, {.stride = 2, .groups = 2}, {.eps = 0.25f});
  layer.find("0.weight")->value().copy_from(random_tensor({6, 5, 5, 2}, 1));
  layer.set_training(false);
  const Variable x(random_tensor({2, 7, 8, 4}, 2)), residual(random_tensor({2, 4, 4, 6}, 3));
  const Variable z =
      ops::scale(ops::conv2d(x, layer.find("0.weight")->variable, {}, {.stride = 2, .pad = 2, .groups = 2}),
                 1.0f / std::sqrt(1.25f));
  const auto swish = [](const Variable& v) {
    return doubles(ops::activation(v, Activation::hard_swish).value().span<float>());
  };
  EXPECT_TRUE(near(layer(x).value(), swish(z), 1e-5));
  EXPECT_TRUE(near(layer.forward(x, residual).value(), swish(ops::add(z, residual)), 1e-5));
}

TEST(ConvNorm, ItsStatisticsMoveAsFarAsTold) {
  ConvNorm layer(1, 1, 1, Activation::none, {}, {.momentum = 0.25f});
  layer.find("0.weight")->value().fill(1.0f);
  layer(Variable(Tensor::full({1, 2, 2, 1}, 8.0f)));
  EXPECT_FLOAT_EQ(layer.find("1.running_mean")->value().item(), 2.0f);
}

}  // namespace
}  // namespace espalier

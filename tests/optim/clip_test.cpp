#include "espalier/optim/clip.h"

#include <gtest/gtest.h>

#include <limits>

#include "optim/support.h"

namespace espalier {
namespace {

TEST(Clip, NormOfAllGradientsTogether) {
  const auto a = make_parameter({0, 0}), b = make_parameter({0}), none = make_parameter({7});
  set_gradient(*a, {3, 4});
  set_gradient(*b, {12});
  EXPECT_DOUBLE_EQ(gradient_norm({a.get(), b.get(), none.get()}), 13);
  EXPECT_EQ(gradient_norm({none.get()}), 0);
}

TEST(Clip, FactorBringsTheNormDownAndNeverUp) {
  const auto factor = [](std::vector<float> gradient, double max_norm) {
    const auto parameter = make_parameter(std::vector<float>(gradient.size()));
    set_gradient(*parameter, gradient);
    return clip_factor({parameter.get()}, max_norm).item();
  };
  EXPECT_NEAR(factor({3, 4, 12}, 6.5), 0.5, 1e-7);  // torch.nn.utils.clip_grad_norm_: they become 1.5, 2, 6
  EXPECT_EQ(factor({3, 4, 12}, 14), 1);
  EXPECT_EQ(factor({0}, 1), 1);
  EXPECT_LT(factor({1}, 1), 1) << "1 / (1 + 1e-6), as PyTorch";
  EXPECT_EQ(factor({std::numeric_limits<float>::infinity()}, 1), 0);
}

TEST(GradientNorm, LeavesMaskedWeightsOut) {
  Parameter parameter{.name = "w", .variable = Variable(Tensor::zeros({4}), true)};
  parameter.gradient() = Tensor::from(Shape{4}, std::vector<float>{3, 100, 4, 100});
  parameter.set_mask(Tensor::from(Shape{4}, std::vector<uint8_t>{1, 0, 1, 0}));
  EXPECT_DOUBLE_EQ(gradient_norm({&parameter}), 5.0);
}

}  // namespace
}  // namespace espalier

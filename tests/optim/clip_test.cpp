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
  EXPECT_NEAR(clip_factor(13, 6.5), 0.5, 1e-7);  // torch.nn.utils.clip_grad_norm_: 3, 4, 12 become 1.5, 2, 6
  EXPECT_EQ(clip_factor(13, 14), 1);
  EXPECT_EQ(clip_factor(0, 1), 1);
  EXPECT_LT(clip_factor(1, 1), 1) << "1 / (1 + 1e-6), as PyTorch";
  EXPECT_EQ(clip_factor(std::numeric_limits<double>::infinity(), 1), 0);
}

TEST(GradientNorm, LeavesMaskedWeightsOut) {
  Parameter parameter{.name = "w", .variable = Variable(Tensor::zeros({4}), true)};
  parameter.gradient() = Tensor::from(Shape{4}, std::vector<float>{3, 100, 4, 100});
  parameter.set_mask(Tensor::from(Shape{4}, std::vector<uint8_t>{1, 0, 1, 0}));
  EXPECT_DOUBLE_EQ(gradient_norm({&parameter}), 5.0);
}

}  // namespace
}  // namespace espalier

#include <gtest/gtest.h>

#include "espalier/autograd/ops.h"
#include "support/bad_input.h"
#include "support/op_case.h"

namespace espalier {
namespace {

TEST(Flatten, ReferenceAndGradients) {
  check({.inputs = {{3, 2, 5, 7}},
         .op = [](const auto& v) { return ops::flatten(v[0]); },
         .reference = [](const auto& v) { return v[0]; },
         .tolerance = 0});
}

TEST(Flatten, ChannelCOfPixelPIsFeaturePCPlusC) {
  const Variable x(Tensor::from({1, 2, 2, 3}, Floats{0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32}));
  const Variable y = ops::flatten(x);
  EXPECT_EQ(y.shape(), (Shape{1, 12}));
  EXPECT_EQ(y.value().f32()[2 * 3 + 1], 21.0f);
  EXPECT_EQ(y.value().f32(), x.value().f32()) << "costs nothing";
}

TEST(Flatten, BadArguments) {
  EXPECT_EQ(message_of([] {
              ops::flatten(Variable(Tensor::zeros({2, 3})));
            }),
            "flatten: expects x [N,H,W,C], found [2, 3]");
}

}  // namespace
}  // namespace espalier

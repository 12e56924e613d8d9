#include "espalier/autograd/fixed_weights.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

TEST(FixedWeights, PreparesOncePerWeightAndShapeUntilTheOutermostEnds) {
  const Tensor a = Tensor::zeros({4}), b = Tensor::zeros({4});
  int made = 0;
  const auto prepared = [&](const Tensor& weight, int64_t n) {
    return FixedWeights::prepared(weight, {n}, 64, [&](void*) { ++made; });
  };
  EXPECT_EQ(prepared(a, 1), nullptr) << "nobody promised anything";
  {
    const FixedWeights outer;
    const void* first = prepared(a, 1);
    EXPECT_NE(first, nullptr);
    {
      const FixedWeights inner;
      EXPECT_EQ(prepared(a, 1), first);
    }
    EXPECT_EQ(prepared(a, 1), first);
    EXPECT_EQ(made, 1);
    EXPECT_NE(prepared(a, 2), first);
    EXPECT_NE(prepared(b, 1), first);
    EXPECT_EQ(made, 3);
    EXPECT_EQ(FixedWeights::prepared(a, {3}, 0, [&](void*) { ++made; }), nullptr) << "nothing to prepare";
    EXPECT_EQ(made, 3);
  }
  EXPECT_EQ(prepared(a, 1), nullptr);
}

}  // namespace
}  // namespace espalier

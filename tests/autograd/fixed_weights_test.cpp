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

TEST(FixedWeights, OfANetworkThatNeverChangesAreKeptBetweenScopes) {
  const Tensor a = Tensor::zeros({4});
  int made = 0;
  const auto prepared = [&] { return FixedWeights::prepared(a, {1}, 64, [&](void*) { ++made; }); };
  PreparedWeights own;
  const void* first = nullptr;
  {
    const FixedWeights scope(own);
    first = prepared();
  }
  EXPECT_EQ(prepared(), nullptr) << "nobody promises anything between";
  {
    const FixedWeights others;
    const void* of_others = prepared();
    EXPECT_NE(of_others, first);
    EXPECT_EQ(made, 2);
    {
      const FixedWeights scope(own);
      EXPECT_EQ(prepared(), first);
      const FixedWeights inner;
      EXPECT_EQ(prepared(), first);
    }
    EXPECT_EQ(prepared(), of_others);
  }
  EXPECT_EQ(made, 2);
}

}  // namespace
}  // namespace espalier

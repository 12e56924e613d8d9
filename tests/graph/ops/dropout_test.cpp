#include <gtest/gtest.h>

#include "espalier/core/random.h"
#include "espalier/graph/ops.h"
#include "graph/op_sample.h"
#include "support/bad_input.h"
#include "support/op_case.h"

namespace espalier {
namespace {

const AddOpSample dropout_sample{"dropout", {.inputs = {{2, 3, 4}}, .attributes = {{"p", 0.25}}}};

TEST(Dropout, TheGradientIsItsMask) {
  const float p = 0.3f;
  const uint64_t key = random_key(3, 4);
  const Variable ones(Tensor::full({1001}, 1.0f));
  const Tensor mask = ops::dropout(ones, p, key).value().clone();
  const auto dropped = std::ranges::count(mask.span<float>(), 0.0f);
  EXPECT_NEAR(static_cast<double>(dropped), 300, 60);
  check({.inputs = {{7, 11, 13}},
         .op = [=](const auto& v) { return ops::dropout(v[0], p, key); },
         .reference =
             [&](auto v) {
               for (size_t i = 0; i < v[0].size(); ++i) v[0][i] *= mask.f32()[i];
               return v[0];
             },
         .tolerance = 2e-6});
}

TEST(Dropout, OfNothingIsTheIdentity) {
  const Variable x(random_tensor({101}, 1));
  EXPECT_TRUE(same_bits(ops::dropout(x, 0.0f, 5).value(), x.value()));
}

TEST(Dropout, InInferenceIsTheIdentityAndCopiesNothing) {
  Variable x(random_tensor({101}, 1), true);
  const Variable y = ops::dropout(x, 0.5f, std::nullopt);
  EXPECT_TRUE(y.value().shares(x.value()));
  EXPECT_EQ(y.shape(), x.shape());
  ops::sum(ops::mul(y, y)).backward();
  for (int i = 0; i < 101; ++i) EXPECT_EQ(x.gradient().f32()[i], 2 * x.value().f32()[i]);
}

TEST(Dropout, BadArguments) {
  const Variable a(Tensor::zeros({2, 3}));
  for (const float p : {-0.1f, 1.0f, std::nanf("")})
    EXPECT_TRUE(contains(message_of([&] { ops::dropout(a, p, 0); }), "is not in [0,1)"));
}

}  // namespace
}  // namespace espalier

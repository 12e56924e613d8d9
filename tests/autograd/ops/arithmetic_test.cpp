#include <gtest/gtest.h>

#include <numeric>

#include "espalier/autograd/ops.h"
#include "support/bad_input.h"
#include "support/op_case.h"

namespace espalier {
namespace {

const Shape shapes[] = {{}, {7}, {3, 5, 7, 11}, {2, 20011}};

TEST(Arithmetic, ReferenceAndGradients) {
  for (const Shape& s : shapes) {
    SCOPED_TRACE(s.str());
    check({.inputs = {s, s},
           .op = [](const auto& v) { return ops::add(v[0], v[1]); },
           .reference =
               [](auto v) {
                 for (size_t i = 0; i < v[0].size(); ++i) v[0][i] += v[1][i];
                 return v[0];
               },
           .tolerance = 2e-6});
    check({.inputs = {s, s},
           .op = [](const auto& v) { return ops::mul(v[0], v[1]); },
           .reference =
               [](auto v) {
                 for (size_t i = 0; i < v[0].size(); ++i) v[0][i] *= v[1][i];
                 return v[0];
               },
           .tolerance = 2e-6});
    check({.inputs = {s},
           .op = [](const auto& v) { return ops::scale(v[0], -2.5f); },
           .reference =
               [](auto v) {
                 for (double& x : v[0]) x *= -2.5;
                 return v[0];
               },
           .tolerance = 2e-6});
    check({.inputs = {s},
           .op = [](const auto& v) { return ops::sum(v[0]); },
           .reference = [](const auto& v) { return Doubles{std::reduce(v[0].begin(), v[0].end())}; }});
    check({.inputs = {s},
           .op = [](const auto& v) { return ops::mean(v[0]); },
           .reference =
               [](const auto& v) {
                 return Doubles{std::reduce(v[0].begin(), v[0].end()) / static_cast<double>(v[0].size())};
               }});
  }
}

/// x and s, the numbers of s beside those of x.
OpCase beside_case(const Shape& x, const Shape& s, bool product) {
  return {.inputs = {x, s},
          .op = [=](const auto& v) { return product ? ops::mul(v[0], v[1]) : ops::add(v[0], v[1]); },
          .reference =
              [=](auto v) {
                const auto c = static_cast<size_t>(x[-1]), row = static_cast<size_t>(x.row_elements());
                for (size_t i = 0; i < v[0].size(); ++i) {
                  const double other = v[1][(s.axes() == 1 ? 0 : i / row * c) + i % c];
                  v[0][i] = product ? v[0][i] * other : v[0][i] + other;
                }
                return v[0];
              },
          .tolerance = 5e-6};
}

TEST(Arithmetic, OneNumberAnImageAndChannelOrAChannelBesideAllPixels) {
  for (const bool product : {false, true})
    for (const Shape& x : {Shape{2, 3, 5, 17}, Shape{3, 1, 1, 4}, Shape{1, 9, 9, 1}, Shape{2, 2, 2, 64}}) {
      SCOPED_TRACE(testing::Message() << x << ", product " << product);
      check(beside_case(x, {x[0], x[3]}, product));
      check(beside_case(x, {x[0], 1, 1, x[3]}, product));
      check(beside_case(x, {x[3]}, product));
      check(beside_case({x[0], x[3]}, {x[3]}, product));
    }
}

TEST(Arithmetic, WhatIsBesideItselfHasBothGradients) {
  // y = x mean(x) of one pixel: x^2
  const Variable x(random_tensor({2, 1, 1, 3}, 1), true);
  ops::mul(x, ops::global_average_pool(x)).backward(Tensor::full({2, 1, 1, 3}, 1.0f));
  for (int i = 0; i < 6; ++i) EXPECT_FLOAT_EQ(x.gradient().f32()[i], 2 * x.value().f32()[i]);
}

TEST(Arithmetic, TheGradientOfAMeanIsTheSameEverywhere) {
  const Variable x(Tensor::zeros({2, 5}), true);
  ops::mean(x).backward();
  for (const float g : x.gradient().span<float>()) EXPECT_FLOAT_EQ(g, 0.1f);
}

TEST(Arithmetic, DropoutsGradientIsItsMask) {
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

TEST(Arithmetic, DropoutOfNothingIsTheIdentity) {
  const Variable x(random_tensor({101}, 1));
  EXPECT_TRUE(same_bits(ops::dropout(x, 0.0f, 5).value(), x.value()));
}

TEST(Arithmetic, DropoutInInferenceIsTheIdentityAndCopiesNothing) {
  Variable x(random_tensor({101}, 1), true);
  const Variable y = ops::dropout(x, 0.5f, std::nullopt);
  EXPECT_TRUE(y.value().shares(x.value()));
  EXPECT_EQ(y.shape(), x.shape());
  ops::sum(ops::mul(y, y)).backward();
  for (int i = 0; i < 101; ++i) EXPECT_EQ(x.gradient().f32()[i], 2 * x.value().f32()[i]);
}

TEST(Arithmetic, BadArguments) {
  const Variable a(Tensor::zeros({2, 3})), b(Tensor::zeros({3, 2})), none(Tensor::zeros({0}));
  EXPECT_EQ(message_of([&] { ops::add(a, b); }), "add: shapes differ, [2, 3] and [3, 2]");
  EXPECT_EQ(message_of([&] { ops::mul(a, b); }), "mul: shapes differ, [2, 3] and [3, 2]");
  const Variable image(Tensor::zeros({2, 4, 4, 3}));
  for (const Shape& s : {Shape{2, 4}, Shape{3, 3}, Shape{2, 4, 1, 3}, Shape{4}, Shape{}, Shape{2, 1, 3}})
    EXPECT_EQ(message_of([&] { ops::mul(image, Variable(Tensor::zeros(s))); }),
              join("mul: shapes differ, [2, 4, 4, 3] and ", s));
  EXPECT_EQ(message_of([&] {
              ops::add(Variable(Tensor::zeros({2, 3})), image);
            }),
            "add: shapes differ, [2, 3] and [2, 4, 4, 3]");
  EXPECT_EQ(message_of([&] { ops::mean(none); }), "mean: no elements");
  EXPECT_EQ(ops::sum(none).value().item(), 0.0f);
  for (const float p : {-0.1f, 1.0f, std::nanf("")})
    EXPECT_TRUE(contains(message_of([&] { ops::dropout(a, p, 0); }), "is not in [0,1)"));
}

}  // namespace
}  // namespace espalier

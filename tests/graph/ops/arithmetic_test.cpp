#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "graph/op_sample.h"
#include "support/bad_input.h"
#include "support/op_case.h"

namespace espalier {
namespace {

const AddOpSample add_sample{"add", {.inputs = {{2, 3, 4}, {2, 3, 4}}}};
const AddOpSample mul_sample{"mul", {.inputs = {{2, 3, 4}, {2, 3, 4}}}};
const AddOpSample scale_sample{"scale", {.inputs = {{2, 3, 4}}, .attributes = {{"factor", -1.5}}}};

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

TEST(Arithmetic, BadArguments) {
  const Variable a(Tensor::zeros({2, 3})), b(Tensor::zeros({3, 2}));
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
}

}  // namespace
}  // namespace espalier

// Also the test of activation_bias.h and scratch.h, which conv_test.cpp reaches too.
#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "graph/op_sample.h"
#include "support/bad_input.h"
#include "support/formulas.h"
#include "support/op_case.h"

namespace espalier {
namespace {

const AddOpSample linear_sample{
    "linear", {.inputs = {{2, 5}, {3, 5}, {3}}, .attributes = {{"activation", std::string("none")}}}};

OpCase linear_case(int64_t n, int64_t in, int64_t out, bool bias, Activation f) {
  OpCase c;
  c.inputs = {{n, in}, {out, in}};
  if (bias) c.inputs.push_back({out});
  c.op = [=](const auto& v) { return ops::linear(v[0], v[1], bias ? v[2] : Variable(), f); };
  c.reference = [=](const auto& v) {
    Doubles y(static_cast<size_t>(n * out));
    for (int64_t r = 0; r < n; ++r)
      for (int64_t o = 0; o < out; ++o) {
        double z = bias ? v[2][static_cast<size_t>(o)] : 0;
        for (int64_t i = 0; i < in; ++i)
          z += v[0][static_cast<size_t>(r * in + i)] * v[1][static_cast<size_t>(o * in + i)];
        y[static_cast<size_t>(r * out + o)] = activated(f, z);
      }
    return y;
  };
  return c;
}

TEST(Linear, ReferenceAndGradients) {
  for (const Activation f : activations)
    for (const bool bias : {false, true}) {
      SCOPED_TRACE(testing::Message() << "activation " << static_cast<int>(f) << ", bias " << bias);
      check(linear_case(7, 15, 9, bias, f));
    }
  check(linear_case(1, 33, 1, true, Activation::relu));
  check(linear_case(17, 1, 3, true, Activation::none));
  check(linear_case(65, 40, 17, true, Activation::gelu));
}

TEST(Linear, OfTokens) {
  for (const bool bias : {false, true}) {
    OpCase c = linear_case(6, 5, 4, bias, Activation::gelu);
    c.inputs[0] = {2, 3, 5};
    check(c);
  }
}

TEST(Linear, TheSameVariableAsInputAndWeight) {
  const Variable x(random_tensor({3, 3}, 1), true);
  ops::linear(x, x, {}).backward(Tensor::full({3, 3}, 1.0f));
  // y = x x'; d(sum y)/dx_ij = 2 sum_k x_kj
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      double expected = 0;
      for (int k = 0; k < 3; ++k) expected += 2 * x.value().f32()[k * 3 + j];
      EXPECT_NEAR(x.gradient().f32()[i * 3 + j], expected, 1e-5);
    }
}

TEST(Linear, BadArguments) {
  const auto message = [](const Shape& x, const Shape& w, const Shape& b) {
    return message_of([&] {
      ops::linear(Variable(Tensor::zeros(x)), Variable(Tensor::zeros(w)), Variable(Tensor::zeros(b)));
    });
  };
  const std::string expects = "linear: expects x [N,I] or [N,...,I], and w [O,I], found ";
  EXPECT_EQ(message({3}, {5, 3}, {5}), expects + "[3] and [5, 3]");
  EXPECT_EQ(message({2, 3}, {5}, {5}), expects + "[2, 3] and [5]");
  EXPECT_EQ(message({2, 3, 4}, {5, 3}, {5}), "linear: input has 4 features, weight expects 3");
  EXPECT_EQ(message({2, 3}, {5, 4}, {5}), "linear: input has 3 features, weight expects 4");
  EXPECT_EQ(message({2, 3}, {5, 3}, {3}), "linear: bias has shape [3], expected [5]");
  EXPECT_EQ(message({2, 3}, {5, 3}, {1, 5}), "linear: bias has shape [1, 5], expected [5]");
}

}  // namespace
}  // namespace espalier

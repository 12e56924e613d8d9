#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "graph/op_sample.h"
#include "support/bad_input.h"
#include "support/op_case.h"
#include "support/rows.h"

namespace espalier {
namespace {

const AddOpSample softmax_sample{"softmax", {.inputs = {{2, 3, 5}}}};
const AddOpSample matmul_sample{"matmul",
                                {.inputs = {{2, 3, 4}, {2, 4, 5}},
                                 .attributes = {{"a_transposed", int64_t{0}}, {"b_transposed", int64_t{0}}}}};

TEST(MatmulOp, ReferenceAndGradients) {
  for_matmuls([](const MatmulShape& s) {
    if (s.m * s.n * s.k > 10000) return;  // differences of whole products
    Shape a{s.batch, s.m, s.k}, b{s.batch, s.k, s.n};
    if (s.a_transposed) a = {s.batch, s.k, s.m};
    if (s.b_transposed) b = {s.batch, s.n, s.k};
    check({.inputs = {a, b},
           .op = [=](const auto& v) { return ops::matmul(v[0], v[1], s.a_transposed, s.b_transposed); },
           .reference = [=](const auto& v) { return matmul_formula(v[0], v[1], s); }});
  });
}

TEST(MatmulOp, OfHeads) {
  check({.inputs = {{2, 3, 5, 4}, {2, 3, 7, 4}},
         .op =
             [](const auto& v) {
               const Variable y = ops::matmul(v[0], v[1], false, true);
               EXPECT_EQ(y.shape(), (Shape{2, 3, 5, 7}));
               return y;
             },
         .reference =
             [](const auto& v) {
               return matmul_formula(v[0], v[1], {6, 5, 7, 4, false, true});
             }});
}

TEST(MatmulOp, OfAVariableWithItself) {
  check({.inputs = {{2, 5, 4}},
         .op = [](const auto& v) { return ops::matmul(v[0], v[0], false, true); },
         .reference =
             [](const auto& v) {
               return matmul_formula(v[0], v[0], {2, 5, 5, 4, false, true});
             }});
}

TEST(MatmulOp, BadArguments) {
  const auto message = [](const Shape& a, const Shape& b, bool ta, bool tb) {
    return message_of([&] { ops::matmul(Variable(Tensor::zeros(a)), Variable(Tensor::zeros(b)), ta, tb); });
  };
  const std::string expected = "matmul: expects a [N,...,M,K] and b [N,...,K,N], found ";
  EXPECT_EQ(message({3}, {3}, false, false), expected + "[3] and [3]");
  EXPECT_EQ(message({2, 3, 4}, {4, 3}, false, false), expected + "[2, 3, 4] and [4, 3]");
  EXPECT_EQ(message({2, 3, 4}, {3, 4, 5}, false, false), expected + "[2, 3, 4] and [3, 4, 5]");
  EXPECT_EQ(message({2, 3, 0}, {2, 0, 5}, false, false), expected + "[2, 3, 0] and [2, 0, 5]");
  EXPECT_EQ(message({2, 3, 4}, {2, 5, 4}, false, false),
            "matmul: a [2, 3, 4] has 4 columns, b [2, 5, 4] has 5 rows");
  EXPECT_EQ(message({2, 3, 4}, {2, 5, 4}, true, true),
            "matmul: a [2, 3, 4] transposed has 3 columns, b [2, 5, 4] transposed has 4 rows");
}

TEST(SoftmaxOp, ReferenceAndGradients) {
  for (const Shape& shape : {Shape{1}, Shape{5, 7}, Shape{2, 3, 4, 17}})
    check({.inputs = {shape},
           .op = [](const auto& v) { return ops::softmax(v[0]); },
           .reference = [=](const auto& v) { return softmax_formula(v[0], static_cast<size_t>(shape[-1])); },
           .low = -4,
           .high = 4});
  EXPECT_EQ(message_of([] {
              ops::softmax(Variable(Tensor::zeros({3, 0})));
            }),
            "softmax: expects x [...,C], found [3, 0]");
}

}  // namespace
}  // namespace espalier

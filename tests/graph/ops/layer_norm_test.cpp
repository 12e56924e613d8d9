#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "graph/op_sample.h"
#include "support/bad_input.h"
#include "support/op_case.h"
#include "support/rows.h"

namespace espalier {
namespace {

const AddOpSample layer_norm_sample{"layer_norm",
                                    {.inputs = {{2, 3, 5}, {5}, {5}}, .attributes = {{"eps", 1e-5}}}};

TEST(LayerNormOp, ReferenceAndGradients) {
  for (const Shape& shape : {Shape{5, 7}, Shape{2, 3, 19}, Shape{2, 3, 2, 33}}) {
    SCOPED_TRACE(testing::Message() << shape);
    check({.inputs = {shape, {shape[-1]}, {shape[-1]}},
           .op = [](const auto& v) { return ops::layer_norm(v[0], v[1], v[2], 1e-2f); },
           .reference = [](const auto& v) { return LayerNormFormula(v[0], {}, v[1], v[2], double{1e-2f}).y; },
           .tolerance = 3e-5});
  }
}

TEST(LayerNormOp, BadArguments) {
  const Variable x(Tensor::zeros({2, 3})), three(Tensor::zeros({3})), two(Tensor::zeros({2}));
  EXPECT_EQ(message_of([&] { ops::layer_norm(x, three, two); }),
            "layer_norm: scale and shift have shapes [3] and [2], expected [3]");
  EXPECT_EQ(message_of([&] {
              ops::layer_norm(Variable(Tensor::zeros({2, 0})), two, two);
            }),
            "layer_norm: expects x [...,C], found [2, 0]");
}

}  // namespace
}  // namespace espalier

#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "graph/op_sample.h"
#include "support/formulas.h"
#include "support/op_case.h"

namespace espalier {
namespace {

const AddOpSample activation_sample{"activation",
                                    {.inputs = {{2, 7}}, .attributes = {{"function", std::string("gelu")}}}};

TEST(ActivationOp, ReferenceAndGradients) {
  for (const Activation f : activations)
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{3, 5, 7, 11}, Shape{33, 1001}}) {
      OpCase c{.inputs = {shape},
               .op = [=](const auto& v) { return ops::activation(v[0], f); },
               .reference =
                   [=](const auto& v) {
                     Doubles y;
                     for (const double x : v[0]) y.push_back(activated(f, x));
                     return y;
                   },
               .tolerance = 1e-6,
               .low = -4,
               .high = 8};
      if (shape.elements() > 10000) c.tolerance = 2e-6;
      check(c);
    }
}

}  // namespace
}  // namespace espalier

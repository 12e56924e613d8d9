#include <gtest/gtest.h>

#include <numeric>

#include "espalier/graph/ops.h"
#include "graph/op_sample.h"
#include "support/bad_input.h"
#include "support/op_case.h"

namespace espalier {
namespace {

const AddOpSample sum_sample{"sum", {.inputs = {{2, 3, 4}}}};
const AddOpSample mean_sample{"mean", {.inputs = {{2, 3, 4}}}};

TEST(Reduce, ReferenceAndGradients) {
  for (const Shape& s : {Shape{}, Shape{7}, Shape{3, 5, 7, 11}, Shape{2, 20011}}) {
    SCOPED_TRACE(s.str());
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

TEST(Reduce, TheGradientOfAMeanIsTheSameEverywhere) {
  const Variable x(Tensor::zeros({2, 5}), true);
  ops::mean(x).backward();
  for (const float g : x.gradient().span<float>()) EXPECT_FLOAT_EQ(g, 0.1f);
}

TEST(Reduce, OfNothing) {
  const Variable none(Tensor::zeros({0}));
  EXPECT_EQ(message_of([&] { ops::mean(none); }), "mean: no elements");
  EXPECT_EQ(ops::sum(none).value().item(), 0.0f);
}

}  // namespace
}  // namespace espalier

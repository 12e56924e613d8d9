// What exporters write as several nodes is one op.
#include "espalier/onnx/patterns.h"

#include <cmath>

#include "onnx/import_case.h"

namespace espalier {
namespace {

double erf_gelu(double x) { return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0))); }

/// c = 1 + erf(x / sqrt 2), and "half" for what goes on.
void add_erf(OnnxBuilder& builder) {
  builder.floats("sqrt2", {}, {std::sqrt(2.0f)});
  builder.floats("one", {}, {1.0f});
  builder.floats("half", {}, {0.5f});
  builder.node("Div", {"x", "sqrt2"}, "a");
  builder.node("Erf", {"a"}, "b");
  builder.node("Add", {"b", "one"}, "c");
}

TEST_F(OneOp, IsGeluHoweverItsFactorsAreOrdered) {
  const float x[] = {-1.0f, 0.5f, 2.0f, -0.25f};
  for (int order = 0; order < 3; ++order) {
    builder = OnnxBuilder({0, 1, 1, 4});
    add_erf(builder);
    if (order == 0) {
      builder.node("Mul", {"x", "c"}, "d");
      builder.node("Mul", {"d", "half"}, "f");
    } else if (order == 1) {
      builder.node("Mul", {"half", "c"}, "d");
      builder.node("Mul", {"d", "x"}, "f");
    } else {
      builder.node("Mul", {"x", "half"}, "d");
      builder.node("Mul", {"d", "c"}, "f");
    }
    finish();
    EXPECT_EQ(ops(builder), (Names{"activation", "flatten", "linear"})) << order;
    const Floats y = of({x, x + 4});
    EXPECT_TRUE(near(y, Doubles{erf_gelu(-1) + erf_gelu(0.5), erf_gelu(2) + erf_gelu(-0.25)}, 1e-6)) << order;
  }
}

TEST_F(OneOp, IsNoGeluWhereAPartIsReadElsewhere) {
  add_erf(builder);
  builder.node("Mul", {"x", "c"}, "d");
  builder.node("Mul", {"d", "half"}, "e");
  builder.node("Add", {"e", "c"}, "f");
  finish();
  EXPECT_TRUE(contains(refused(builder), "1 op is not known: Erf ('b')"));
}

TEST_F(OneOp, IsSiluHardSwishAndHardSigmoid) {
  const Floats x{-1.0f, 0.5f, 2.0f, -0.25f};
  const auto sums = [&](double (*f)(double)) { return Doubles{f(x[0]) + f(x[1]), f(x[2]) + f(x[3])}; };
  builder.node("Sigmoid", {"x"}, "a");
  builder.node("Mul", {"a", "x"}, "f");
  finish();
  EXPECT_EQ(ops(builder), (Names{"activation", "flatten", "linear"}));
  EXPECT_TRUE(near(of(x), sums([](double v) { return v / (1 + std::exp(-v)); }), 1e-6));

  const auto hard = [](double v) { return std::min(std::max(v + 3, 0.0), 6.0) / 6; };
  builder = OnnxBuilder({0, 1, 1, 4});
  builder.node("HardSigmoid", {"x"}, "f", {{"alpha", 1.0f / 6.0f}, {"beta", 0.5f}});
  finish();
  EXPECT_TRUE(near(of(x), sums(hard), 1e-6));

  for (const bool divides_last : {false, true}) {
    builder = OnnxBuilder({0, 1, 1, 4});
    builder.floats("three", {}, {3.0f});
    builder.floats("six", {}, {6.0f});
    builder.node("Add", {"x", "three"}, "a");
    builder.node("Clip", {"a"}, "b", {{"min", 0.0f}, {"max", 6.0f}});
    builder.node(divides_last ? "Mul" : "Div", {"b", divides_last ? "x" : "six"}, "c");
    builder.node(divides_last ? "Div" : "Mul", {"c", divides_last ? "six" : "x"}, "f");
    finish();
    EXPECT_EQ(ops(builder), (Names{"activation", "flatten", "linear"}));
    EXPECT_TRUE(
        near(of(x), sums([](double v) { return v * std::min(std::max(v + 3, 0.0), 6.0) / 6; }), 1e-6));
  }
}

}  // namespace
}  // namespace espalier

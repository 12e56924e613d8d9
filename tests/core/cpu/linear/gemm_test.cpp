#include "espalier/core/cpu/linear/gemm.h"

#include <gtest/gtest.h>

#include "core/cpu/guarded.h"
#include "espalier/core/cpu/linear/gemv.h"
#include "espalier/core/kernels.h"
#include "support/formulas.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier::gemm_test {
namespace {

// {n, in, out}: few rows, one column, odd sizes, a cube, LeNet-300's layers.
const LinearShape shapes[] = {{1, 1, 1},     {1, 784, 300}, {1, 2048, 37},  {2, 100, 23}, {3, 33, 8},
                              {4, 784, 100}, {5, 17, 9},    {7, 15, 1},     {17, 1, 33},  {33, 7, 10},
                              {64, 100, 10}, {3, 37, 101},  {65, 300, 100}, {33, 33, 33}};

Tensor scratch(size_t bytes) { return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8); }

class Gemm : public testing::TestWithParam<LinearShape> {
 protected:
  const LinearShape s = GetParam();
  const WithThreads two{2};
  const Floats x = random_floats(s.n * s.in, 1), w = random_floats(s.out * s.in, 2),
               b = random_floats(s.out, 3), dy = random_floats(s.n * s.out, 4);
};

TEST_P(Gemm, Forward) {
  for (const bool bias : {false, true}) {
    Doubles expected(dy.size());
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = bias ? b[i % b.size()] : 0.0;
    for_products(s, [&](size_t yi, size_t wi, size_t xi) { expected[yi] += double{x[xi]} * w[wi]; });
    Floats y(dy.size(), 5.0f);
    Tensor block = scratch(cpu::linear_forward_scratch(s, bias));
    cpu::linear_forward(y.data(), x.data(), w.data(), nullptr, bias ? b.data() : nullptr, Activation::none, s,
                        block.raw());
    EXPECT_TRUE(near(y, expected, 1e-5)) << "bias " << bias;
  }
}

TEST_P(Gemm, PreparedAndUnpreparedWithEveryActivation) {
  const size_t bytes = cpu::linear_prepared_bytes(s);
  ASSERT_EQ(bytes == 0, s.n <= cpu::gemv_rule_rows);
  Guarded prepared(bytes);
  if (bytes > 0) cpu::linear_prepare(prepared.raw(), w.data(), s);
  const Floats gone(w.size(), 9.0f);  // a prepared weight itself is not read any more
  for (const bool bias : {false, true}) {
    Doubles z(dy.size());
    for (size_t i = 0; i < z.size(); ++i) z[i] = bias ? b[i % b.size()] : 0.0;
    for_products(s, [&](size_t yi, size_t wi, size_t xi) { z[yi] += double{x[xi]} * w[wi]; });
    for (const Activation f : activations) {
      Doubles expected = z;
      for (double& each : expected) each = activated(f, each);
      for (const bool use_prepared : {false, true}) {
        if (use_prepared && bytes == 0) continue;
        Guarded y(z.size() * sizeof(float)), block(cpu::linear_forward_scratch(s, bias));
        cpu::linear_forward(y.floats(), x.data(), (use_prepared ? gone : w).data(),
                            use_prepared ? prepared.raw() : nullptr, bias ? b.data() : nullptr, f, s,
                            block.raw());
        EXPECT_TRUE(near(y.span(), expected, 1e-5))
            << "bias " << bias << ", activation " << static_cast<int>(f) << ", prepared " << use_prepared;
      }
    }
  }
}

TEST_P(Gemm, BackwardData) {
  Doubles expected(x.size());
  for_products(s, [&](size_t yi, size_t wi, size_t xi) { expected[xi] += double{dy[yi]} * w[wi]; });
  check_output(expected, 1e-5, [&](float* dx, bool accumulate) {
    Tensor block = scratch(cpu::linear_backward_data_scratch(s, accumulate));
    cpu::linear_backward_data(dx, dy.data(), w.data(), s, accumulate, block.raw());
  });
}

TEST_P(Gemm, BackwardWeights) {
  Doubles expected(w.size());
  for_products(s, [&](size_t yi, size_t wi, size_t xi) { expected[wi] += double{dy[yi]} * x[xi]; });
  check_output(expected, 1e-5, [&](float* dw, bool accumulate) {
    Tensor block = scratch(cpu::linear_backward_weights_scratch(s, accumulate));
    cpu::linear_backward_weights(dw, dy.data(), x.data(), s, accumulate, block.raw());
  });
}

TEST_P(Gemm, SameThreadsSameBits) {
  Tensor forward = scratch(cpu::linear_forward_scratch(s, true)),
         weights = scratch(cpu::linear_backward_weights_scratch(s, false));
  Floats first(dy.size()), first_dw(w.size());
  cpu::linear_forward(first.data(), x.data(), w.data(), nullptr, b.data(), Activation::none, s,
                      forward.raw());
  cpu::linear_backward_weights(first_dw.data(), dy.data(), x.data(), s, false, weights.raw());
  for (int i = 0; i < 5; ++i) {
    Floats y(dy.size()), dw(w.size());
    cpu::linear_forward(y.data(), x.data(), w.data(), nullptr, b.data(), Activation::none, s, forward.raw());
    cpu::linear_backward_weights(dw.data(), dy.data(), x.data(), s, false, weights.raw());
    ASSERT_TRUE(same_bits(first, y));
    ASSERT_TRUE(same_bits(first_dw, dw));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Gemm, testing::ValuesIn(shapes), [](const auto& info) {
  const LinearShape& s = info.param;
  return "n" + std::to_string(s.n) + "i" + std::to_string(s.in) + "o" + std::to_string(s.out);
});

TEST(GemmServedBy, IsTheRule) {
  using cpu::Direction;
  const LinearShape few{cpu::gemv_rule_rows, 64, 9}, many{cpu::gemv_rule_rows + 1, 64, 9};
  EXPECT_EQ(cpu::linear_served_by(few, Direction::forward, false), "rows");
  EXPECT_EQ(cpu::linear_served_by(many, Direction::forward, true), "pointwise");
  EXPECT_TRUE(cpu::linear_served_by(many, Direction::forward, false).starts_with("product ("));
  EXPECT_TRUE(cpu::linear_served_by(few, Direction::backward_data, false).starts_with("product ("));
  EXPECT_TRUE(cpu::linear_served_by(few, Direction::backward_weights, false).starts_with("product ("));
}

TEST(GemmPlans, AlternatingShapesAndThreadsDoNotMixUp) {
  // The cache remembers its last plan: two shapes and two numbers of threads in turn.
  const LinearShape wide{5, 64, 9}, narrow{5, 9, 64};
  const Floats x = random_floats(5 * 64, 1), w = random_floats(64 * 9, 2);
  Floats first_wide(45), first_narrow(320);
  for (int round = 0; round < 4; ++round) {
    const WithThreads some(1 + round / 2);
    Floats y(45), z(320);
    Tensor a = scratch(cpu::linear_forward_scratch(wide, false));
    cpu::linear_forward(y.data(), x.data(), w.data(), nullptr, nullptr, Activation::none, wide, a.raw());
    Tensor b = scratch(cpu::linear_forward_scratch(narrow, false));
    cpu::linear_forward(z.data(), x.data(), w.data(), nullptr, nullptr, Activation::none, narrow, b.raw());
    if (round == 0) first_wide = y, first_narrow = z;
    EXPECT_TRUE(near(y, doubles(first_wide), 1e-6));
    EXPECT_TRUE(near(z, doubles(first_narrow), 1e-6));
  }
}

}  // namespace
}  // namespace espalier::gemm_test

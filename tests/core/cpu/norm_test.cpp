#include <gtest/gtest.h>

#include "core/cpu/guarded.h"
#include "espalier/core/kernels.h"
#include "support/formulas.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier::norm_test {
namespace {

// Gradients are held to finite differences by the op's tests (tests/graph/ops/norm_test.cpp); here each
// kernel is held to the contract's formula, for every size, option and way of adding.

Tensor scratch(size_t bytes) { return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8); }

TEST(Norm, StatisticsOfNumbersFarFromZero) {
  for (const int threads : {1, 2, 3})
    for (const int64_t c : {1, 3, 16, 17, 101})
      for (const int64_t rows : {2, 7, 1000, 5003}) {
        const WithThreads some{threads};
        const NormShape s{rows, c};
        const Floats x = random_floats(rows * c, 1, 999.0, 1001.0);
        const ChannelMoments expected(x, s);
        const Floats near_mean(static_cast<size_t>(c), 1000.0f);
        for (const float* center : {near_mean.data(), static_cast<const float*>(nullptr)}) {
          Floats found_mean(near_mean.size()), found_variance(near_mean.size());
          Tensor block = scratch(cpu::channel_statistics_scratch(s));
          cpu::channel_statistics({found_mean.data(), found_variance.data(), center}, x.data(), s,
                                  block.raw());
          EXPECT_TRUE(near(found_mean, expected.mean, 1e-6)) << rows << "x" << c;
          EXPECT_TRUE(near(found_variance, expected.variance, 1e-4)) << rows << "x" << c;
        }
      }
}

// What relu leaves: equal numbers, whose squares about a center that is far away all round the same way.
// As relu leaves them: their squares about a center that is not theirs all round the same way.
TEST(Norm, StatisticsOfManyEqualNumbers) {
  const WithThreads one{1};
  const NormShape s{4000, 5};
  Tensor block = scratch(cpu::channel_statistics_scratch(s));
  for (const float first_row : {0.7f, 1.1f, 1.3f, 1.5f, 2.7f}) {  // the center: 1.4 to 8 deviations away
    Floats x = random_floats(s.rows * s.c, 1, -1.0, 1.0), mean(5), variance(5);
    for (float& value : x) value = std::max(0.0f, value);
    std::fill_n(x.begin(), s.c, first_row);
    cpu::channel_statistics({mean.data(), variance.data()}, x.data(), s, block.raw());
    for (size_t k = 0; k < 5; ++k) {
      double sum = 0, square = 0;
      for (size_t i = k; i < x.size(); i += 5) sum += x[i], square += double{x[i]} * x[i];
      const double expected = square / 4000 - sum / 4000 * sum / 4000;
      EXPECT_NEAR(mean[k], sum / 4000, 1e-6) << first_row << ", channel " << k;
      EXPECT_NEAR(variance[k], expected, 3e-5 * expected) << first_row << ", channel " << k;
    }
  }
}

class NormKernels : public testing::TestWithParam<NormShape> {
 protected:
  const NormShape s = GetParam();
  const int64_t n = s.rows * s.c;
  const Floats x = random_floats(n, 1), residual = random_floats(n, 2), dy = random_floats(n, 3),
               scale = random_floats(s.c, 4, 0.5, 2.0), shift = random_floats(s.c, 5),
               mean = random_floats(s.c, 6), rstd = random_floats(s.c, 7, 0.5, 2.0);
  const WithThreads three{3};

  double z(size_t i, bool with_residual, bool scaled = true, bool shifted = true) const {
    const size_t k = i % scale.size();
    return x[i] * (scaled ? double{scale[k]} : 1.0) + (shifted ? shift[k] : 0.0) +
           (with_residual ? residual[i] : 0.0);
  }
};

TEST_P(NormKernels, ScaleShiftForward) {
  for (const Activation f : norm_activations)
    for (const int options : {0, 1, 2, 3, 4, 5, 6, 7}) {
      const bool with_residual = options & 1, scaled = options & 2, shifted = options & 4;
      SCOPED_TRACE(testing::Message() << "activation " << static_cast<int>(f) << ", options " << options);
      Doubles expected(x.size());
      for (size_t i = 0; i < x.size(); ++i) expected[i] = activated(f, z(i, with_residual, scaled, shifted));
      const auto run = [&](float* y, const float* from, const float* added) {
        cpu::scale_shift_forward(y, from, scaled ? scale.data() : nullptr, shifted ? shift.data() : nullptr,
                                 with_residual ? added : nullptr, f, s);
      };
      Guarded y(x.size() * sizeof(float));
      run(y.floats(), x.data(), residual.data());
      EXPECT_TRUE(near(y.span(), expected, 1e-6));
      Floats over_x = x, over_residual = residual;
      run(over_x.data(), over_x.data(), residual.data());
      EXPECT_TRUE(same_bits(y.span(), std::span<const float>(over_x))) << "y is x";
      run(over_residual.data(), x.data(), over_residual.data());
      EXPECT_TRUE(same_bits(y.span(), std::span<const float>(over_residual))) << "y is the residual";
    }
}

TEST_P(NormKernels, Backward) {
  for (const Activation f : norm_activations)
    for (const bool with_residual : {false, true})
      for (const bool batch_statistics : {false, true}) {
        SCOPED_TRACE(testing::Message() << "activation " << static_cast<int>(f) << ", residual "
                                        << with_residual << ", batch " << batch_statistics);
        NormBackward from{.dy = dy.data(),
                          .x = x.data(),
                          .scale = scale.data(),
                          .shift = shift.data(),
                          .mean = mean.data(),
                          .rstd = rstd.data(),
                          .residual = with_residual ? residual.data() : nullptr,
                          .f = f,
                          .batch_statistics = batch_statistics};
        const NormFormula formula(from, s);
        // Every output wanted or not, overwritten or added to; relu's sign from the residual and from y.
        for (int wanted = 1; wanted < 16; ++wanted)
          for (const int added : {0, wanted, 0b0110, 0b1001}) {
            if (f != Activation::none && !keeps_input(f))
              from.y = with_residual && added ? formula.y.data() : nullptr;
            SCOPED_TRACE(testing::Message() << "wanted " << wanted << ", added to " << added);
            Guarded block(cpu::batch_norm_backward_scratch(s));
            const Doubles* const expected[] = {&formula.dx, &formula.dresidual, &formula.dgamma,
                                               &formula.dbeta};
            std::vector<Floats> outputs;
            for (const Doubles* numbers : expected)
              outputs.push_back(random_floats(static_cast<int64_t>(numbers->size()), 8, 1.0, 2.0));
            const std::vector<Floats> before = outputs;
            const auto output = [&](size_t i) { return wanted >> i & 1 ? outputs[i].data() : nullptr; };
            cpu::batch_norm_backward({.dx = output(0),
                                      .dresidual = output(1),
                                      .dgamma = output(2),
                                      .dbeta = output(3),
                                      .add_dx = (added & 1) != 0,
                                      .add_dresidual = (added & 2) != 0,
                                      .add_dgamma = (added & 4) != 0,
                                      .add_dbeta = (added & 8) != 0},
                                     from, s, block.raw());
            for (size_t i = 0; i < outputs.size(); ++i) {
              Doubles right = doubles(before[i]);
              if (wanted >> i & 1)
                for (size_t j = 0; j < right.size(); ++j)
                  right[j] = (*expected[i])[j] + (added >> i & 1 ? before[i][j] : 0.0);
              EXPECT_TRUE(near(outputs[i], right, 1e-5)) << "output " << i;
            }
          }
      }
}

INSTANTIATE_TEST_SUITE_P(Shapes, NormKernels,
                         testing::Values(NormShape{2, 1}, NormShape{7, 3}, NormShape{1000, 16},
                                         NormShape{1000, 17}, NormShape{1300, 37}, NormShape{7, 64},
                                         NormShape{515, 101}, NormShape{2, 520}),
                         [](const auto& info) {
                           return "rows" + std::to_string(info.param.rows) + "c" +
                                  std::to_string(info.param.c);
                         });

TEST(Norm, GradientsOfAnInputThatIsItsOwnResidualAddUp) {
  const NormShape s{40, 17};
  const Floats x = random_floats(s.rows * s.c, 1), dy = random_floats(s.rows * s.c, 2),
               scale = random_floats(s.c, 3), shift = random_floats(s.c, 4), mean = random_floats(s.c, 5),
               rstd = random_floats(s.c, 6, 0.5, 2.0);
  const NormBackward from{.dy = dy.data(),
                          .x = x.data(),
                          .scale = scale.data(),
                          .shift = shift.data(),
                          .mean = mean.data(),
                          .rstd = rstd.data(),
                          .residual = x.data(),
                          .f = Activation::gelu};
  Tensor block = scratch(cpu::batch_norm_backward_scratch(s));
  Floats dx(x.size()), dresidual(x.size()), both(x.size());
  cpu::batch_norm_backward({.dx = dx.data(), .dresidual = dresidual.data()}, from, s, block.raw());
  cpu::batch_norm_backward({.dx = both.data(), .dresidual = both.data(), .add_dx = true}, from, s,
                           block.raw());
  Doubles sum = doubles(dx);
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += dresidual[i];
  EXPECT_TRUE(near(both, sum, 1e-6));
}

TEST(Norm, GradientsTakeTheMemoryOfTheOutputs) {
  const NormShape s{40, 17};
  const Floats x = random_floats(s.rows * s.c, 1), dy = random_floats(s.rows * s.c, 2),
               scale = random_floats(s.c, 3), shift = random_floats(s.c, 4), mean = random_floats(s.c, 5),
               rstd = random_floats(s.c, 6, 0.5, 2.0), residual = random_floats(s.rows * s.c, 7);
  Tensor block = scratch(cpu::batch_norm_backward_scratch(s));
  for (const Activation f : norm_activations) {
    NormBackward from{.dy = dy.data(),
                      .x = x.data(),
                      .scale = scale.data(),
                      .shift = shift.data(),
                      .mean = mean.data(),
                      .rstd = rstd.data(),
                      .residual = residual.data(),
                      .f = f};
    Floats dx(x.size()), dresidual(x.size());
    cpu::batch_norm_backward({.dx = dx.data(), .dresidual = dresidual.data()}, from, s, block.raw());
    Floats in_dy = dy, beside(x.size());
    from.dy = in_dy.data();
    cpu::batch_norm_backward({.dx = in_dy.data()}, from, s, block.raw());
    EXPECT_TRUE(same_bits(in_dy, dx));
    in_dy = dy;
    cpu::batch_norm_backward({.dx = beside.data(), .dresidual = in_dy.data()}, from, s, block.raw());
    EXPECT_TRUE(same_bits(in_dy, dresidual));
    EXPECT_TRUE(same_bits(beside, dx));
  }
}

TEST(Norm, SameThreadsSameBits) {
  const WithThreads two{2};
  const NormShape s{3001, 37};
  const Floats x = random_floats(s.rows * s.c, 1), dy = random_floats(s.rows * s.c, 2),
               scale = random_floats(s.c, 3), shift = random_floats(s.c, 4), mean = random_floats(s.c, 5),
               rstd = random_floats(s.c, 6, 0.5, 2.0);
  Tensor block = scratch(cpu::batch_norm_backward_scratch(s));
  Floats first;
  for (int i = 0; i < 4; ++i) {
    Floats dx(x.size()), dgamma(scale.size()), dbeta(scale.size());
    cpu::batch_norm_backward({.dx = dx.data(), .dgamma = dgamma.data(), .dbeta = dbeta.data()},
                             {.dy = dy.data(),
                              .x = x.data(),
                              .scale = scale.data(),
                              .shift = shift.data(),
                              .mean = mean.data(),
                              .rstd = rstd.data(),
                              .f = Activation::relu},
                             s, block.raw());
    dx.insert(dx.end(), dgamma.begin(), dgamma.end());
    dx.insert(dx.end(), dbeta.begin(), dbeta.end());
    if (i == 0) first = dx;
    EXPECT_TRUE(same_bits(first, dx));
  }
}

}  // namespace
}  // namespace espalier::norm_test

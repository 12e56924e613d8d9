// Batch norm on the device, each kernel held to the contract's formula in double precision.
#include "espalier/cuda/norm.h"

#include <gtest/gtest.h>

#include <array>
#include <optional>

#include "cuda/card.h"
#include "cuda/support.h"
#include "support/formulas.h"

namespace espalier::norm_test {
namespace {

// Few and many rows, channels in fours and not, one block and several.
const NormShape shapes[] = {{2, 1},    {7, 3},     {1000, 16}, {1000, 17}, {1300, 37},
                            {257, 64}, {515, 101}, {2, 520},   {33, 512},  {40, 1028}};

std::string name_of(const testing::TestParamInfo<NormShape>& info) {
  return "rows" + std::to_string(info.param.rows) + "c" + std::to_string(info.param.c);
}

using CudaNorm = OnCard<>;

struct OnDeviceStatistics {
  explicit OnDeviceStatistics(int64_t c) : mean(c), variance(c) {}
  ChannelStatistics to(const float* center = nullptr) const { return {mean, variance, center}; }
  OnDevice<float> mean, variance;
};

TEST_F(CudaNorm, StatisticsOfNumbersFarFromZero) {
  std::vector<NormShape> all(std::begin(shapes), std::end(shapes));
  all.insert(all.end(), {{1, 5}, {5003, 32}, {20001, 1}, {1100, 2047}, {1100, 2048}});
  for (const NormShape& s : all) {
    const Floats x = random_floats(s.rows * s.c, 1, 999.0, 1001.0);
    const ChannelMoments expected(x, s);
    const OnDevice<float> near_mean(Floats(static_cast<size_t>(s.c), 1000.0f)),
        zeros(Floats(static_cast<size_t>(s.c), 0.0f));
    for (const int64_t offset : {0, 1}) {
      const OnDevice<float> device_x(x, offset);
      // A good guess, the first row, and one that is 2000 deviations away.
      for (const float* center : {near_mean.data(), static_cast<float*>(nullptr), zeros.data()}) {
        if (offset && center) continue;
        SCOPED_TRACE(testing::Message() << s.rows << "x" << s.c << ", offset " << offset << ", "
                                        << (center == zeros.data() ? "zeros"
                                            : center               ? "mean"
                                                                   : "row"));
        const OnDeviceStatistics found(s.c);
        const auto scratch = device_scratch(cuda::channel_statistics_scratch(s));
        cuda::channel_statistics(found.to(center), device_x, s, scratch);
        EXPECT_TRUE(near(found.mean, expected.mean, 1e-6));
        EXPECT_TRUE(near(found.variance, expected.variance, center == zeros.data() ? 1e-4 : 1e-5));
        EXPECT_TRUE(scratch.intact());
      }
    }
  }
}

// As relu leaves them: their squares about a center that is not theirs all round the same way.
TEST_F(CudaNorm, StatisticsOfManyEqualNumbers) {
  const NormShape s{4000, 5};
  const auto scratch = device_scratch(cuda::channel_statistics_scratch(s));
  for (const float first_row : {0.7f, 1.1f, 1.3f, 1.5f, 2.7f}) {  // the center: 1.4 to 8 deviations away
    Floats x = random_floats(s.rows * s.c, 1, -1.0, 1.0);
    for (float& value : x) value = std::max(0.0f, value);
    std::fill_n(x.begin(), s.c, first_row);
    const ChannelMoments expected(x, s);
    const OnDeviceStatistics found(s.c);
    const OnDevice<float> device_x(x);
    cuda::channel_statistics(found.to(), device_x, s, scratch);
    const Floats mean = found.mean.host(), variance = found.variance.host();
    for (size_t k = 0; k < 5; ++k) {
      EXPECT_NEAR(mean[k], expected.mean[k], 1e-6) << first_row << ", channel " << k;
      EXPECT_NEAR(variance[k], expected.variance[k], 5e-6 * expected.variance[k])
          << first_row << ", channel " << k;
    }
  }
}

TEST_F(CudaNorm, StatisticsMayReplaceTheirCenter) {
  const NormShape s{300, 24};
  const Floats x = random_floats(s.rows * s.c, 1, 2.0, 3.0);
  const ChannelMoments expected(x, s);
  const OnDevice<float> device_x(x), mean(random_floats(s.c, 2)), variance(s.c);
  const auto scratch = device_scratch(cuda::channel_statistics_scratch(s));
  cuda::channel_statistics({mean, variance, mean}, device_x, s, scratch);
  EXPECT_TRUE(near(mean, expected.mean, 1e-6));
  EXPECT_TRUE(near(variance, expected.variance, 1e-6));
}

TEST_F(CudaNorm, ANaNStaysInItsChannel) {
  const NormShape s{600, 20};
  Floats x = random_floats(s.rows * s.c, 1);
  x[static_cast<size_t>(300 * s.c + 7)] = std::nanf("");
  const OnDevice<float> device_x(x);
  const OnDeviceStatistics found(s.c);
  const auto scratch = device_scratch(cuda::channel_statistics_scratch(s));
  cuda::channel_statistics(found.to(), device_x, s, scratch);
  const Floats mean = found.mean.host(), variance = found.variance.host();
  for (size_t k = 0; k < 20; ++k) {
    EXPECT_EQ(std::isnan(mean[k]), k == 7) << k;
    EXPECT_EQ(std::isnan(variance[k]), k == 7) << k;
  }
}

TEST_F(CudaNorm, RunningStatisticsScaleAndShift) {
  for (const int64_t c : {1, 3, 128, 129, 512}) {
    const Floats mean = random_floats(c, 1), variance = random_floats(c, 2, 0.1, 2.0),
                 gamma = random_floats(c, 3), beta = random_floats(c, 4);
    Floats running_mean = random_floats(c, 5), running_variance = random_floats(c, 6, 0.5, 1.5);
    const OnDevice<float> on_mean(mean), on_variance(variance), on_gamma(gamma), on_beta(beta),
        on_running_mean(running_mean), on_running_variance(running_variance), on_scale(c), on_shift(c),
        on_rstd(c);
    Floats scale(mean.size()), shift(mean.size()), rstd(mean.size());
    for (const bool moves : {true, false}) {
      RunningStatistics running, on_running;
      if (moves) {
        running = {running_mean.data(), running_variance.data(), 0.1f, 50};
        on_running = {on_running_mean, on_running_variance, 0.1f, 50};
      }
      cpu::norm_scale_shift(scale.data(), shift.data(), rstd.data(), mean.data(), variance.data(),
                            gamma.data(), beta.data(), 1e-5f, running, c);
      cuda::norm_scale_shift(on_scale, on_shift, on_rstd, on_mean, on_variance, on_gamma, on_beta, 1e-5f,
                             on_running, c);
      EXPECT_TRUE(near(on_running_mean, running_mean, 1e-6));
      EXPECT_TRUE(near(on_running_variance, running_variance, 1e-6));
      EXPECT_TRUE(near(on_scale, scale, 1e-6));
      EXPECT_TRUE(near(on_shift, shift, 1e-6));
      EXPECT_TRUE(near(on_rstd, rstd, 1e-6));
    }
  }
}

class CudaNormKernels : public OnCard<testing::TestWithParam<NormShape>> {
 protected:
  const NormShape s = GetParam();
  const int64_t n = s.rows * s.c;
  const Floats x = random_floats(n, 1), residual = random_floats(n, 2), dy = random_floats(n, 3),
               scale = random_floats(s.c, 4, 0.5, 2.0), shift = random_floats(s.c, 5),
               mean = random_floats(s.c, 6), rstd = random_floats(s.c, 7, 0.5, 2.0);
  std::optional<OnDevice<float>> on_x, on_residual, on_dy, on_scale, on_shift, on_mean, on_rstd;

  void SetUp() override {
    OnCard::SetUp();
    if (IsSkipped()) return;
    on_x.emplace(x), on_residual.emplace(residual), on_dy.emplace(dy), on_scale.emplace(scale);
    on_shift.emplace(shift), on_mean.emplace(mean), on_rstd.emplace(rstd);
  }

  double z(size_t i, bool with_residual, bool scaled = true, bool shifted = true) const {
    const size_t k = i % scale.size();
    return x[i] * (scaled ? double{scale[k]} : 1.0) + (shifted ? shift[k] : 0.0) +
           (with_residual ? residual[i] : 0.0);
  }
};

TEST_P(CudaNormKernels, ScaleShiftForward) {
  for (const Activation f : activations)
    for (const int options : {0, 1, 2, 3, 4, 5, 6, 7}) {
      const bool with_residual = options & 1, scaled = options & 2, shifted = options & 4;
      SCOPED_TRACE(testing::Message() << "activation " << static_cast<int>(f) << ", options " << options);
      Doubles expected(x.size());
      for (size_t i = 0; i < x.size(); ++i) expected[i] = activated(f, z(i, with_residual, scaled, shifted));
      const auto run = [&](float* y, const float* from, const float* added) {
        cuda::scale_shift_forward(y, from, scaled ? on_scale->data() : nullptr,
                                  shifted ? on_shift->data() : nullptr, with_residual ? added : nullptr, f,
                                  s);
      };
      const OnDevice<float> y(n), not_aligned(n, 1), over_x(x), over_residual(residual);
      run(y, *on_x, *on_residual);
      EXPECT_TRUE(near(y, expected, 2e-6));
      if (options != 7 && options != 2) continue;
      run(not_aligned, *on_x, *on_residual);
      EXPECT_TRUE(same(not_aligned, y.host()));
      run(over_x, over_x, *on_residual);
      EXPECT_TRUE(same(over_x, y.host())) << "y is x";
      run(over_residual, *on_x, over_residual);
      EXPECT_TRUE(with_residual ? same(over_residual, y.host()) : near(over_residual, expected, 2e-6))
          << "y is the residual";
    }
}

TEST_P(CudaNormKernels, ConvolutionEpilogue) {
  const OnDevice<float> center(random_floats(s.c, 8));
  for (const Activation f : norm_activations)
    for (const int options : {0, 1, 2, 3, 4, 5, 6, 7})
      for (const int statistics : {0, 1, 2})  // none, about zeros, about a center
        for (const int64_t offset : {0, 1}) {
          if (statistics && f != Activation::none && f != Activation::relu) continue;
          if (offset && options != 0 && options != 7) continue;
          const bool with_residual = options & 1, scaled = options & 2, shifted = options & 4;
          SCOPED_TRACE(testing::Message() << "activation " << static_cast<int>(f) << ", options " << options
                                          << ", statistics " << statistics << ", offset " << offset);
          Doubles expected(x.size());
          Floats rounded(x.size());
          for (size_t i = 0; i < x.size(); ++i) {
            expected[i] = activated(f, z(i, with_residual, scaled, shifted));
            rounded[i] = static_cast<float>(expected[i]);
          }
          const OnDevice<float> y(x, offset);
          const OnDeviceStatistics found(s.c);
          const ConvEpilogue e{.scale = scaled ? on_scale->data() : nullptr,
                               .shift = shifted ? on_shift->data() : nullptr,
                               .residual = with_residual ? on_residual->data() : nullptr,
                               .f = f,
                               .statistics = statistics ? found.to(statistics == 2 ? center.data() : nullptr)
                                                        : ChannelStatistics()};
          const auto scratch =
              device_scratch(cuda::convolution_epilogue_scratch(e.statistics.mean != nullptr, s.rows, s.c));
          cuda::convolution_epilogue(y, e, s.rows, s.c, scratch);
          EXPECT_TRUE(near(y, expected, 2e-6));
          EXPECT_TRUE(scratch.intact());
          if (!statistics) continue;
          const ChannelMoments of_y(rounded, s);
          EXPECT_TRUE(near(found.mean, of_y.mean, 1e-6));
          EXPECT_TRUE(near(found.variance, of_y.variance, 3e-6));
        }
}

TEST_P(CudaNormKernels, Backward) {
  for (const Activation f : norm_activations)
    for (const bool with_residual : {false, true})
      for (const bool batch_statistics : {false, true}) {
        SCOPED_TRACE(testing::Message() << "activation " << static_cast<int>(f) << ", residual "
                                        << with_residual << ", batch " << batch_statistics);
        const NormFormula formula({.dy = dy.data(),
                                   .x = x.data(),
                                   .scale = scale.data(),
                                   .shift = shift.data(),
                                   .mean = mean.data(),
                                   .rstd = rstd.data(),
                                   .residual = with_residual ? residual.data() : nullptr,
                                   .f = f,
                                   .batch_statistics = batch_statistics},
                                  s);
        const OnDevice<float> on_y(formula.y);
        NormBackward from{.dy = *on_dy,
                          .x = *on_x,
                          .scale = *on_scale,
                          .shift = *on_shift,
                          .mean = *on_mean,
                          .rstd = *on_rstd,
                          .residual = with_residual ? on_residual->data() : nullptr,
                          .f = f,
                          .batch_statistics = batch_statistics};
        // Outputs wanted or not, overwritten or added to, aligned or not; relu's sign from z and from y. All
        // of these take turns, shape by shape.
        static int turn = 0;
        for (int i = 0; i < 5; ++i, ++turn) {
          const int wanted = std::array{1, 15, 2, 13, 3, 4, 14, 8, 7}[static_cast<size_t>(turn % 9)],
                    added = std::array{0, wanted, 0b0110, 0b1001}[static_cast<size_t>(turn % 4)];
          if (f != Activation::none && !keeps_input(f))
            from.y = with_residual && added ? on_y.data() : nullptr;
          const int64_t offset = turn % 7 == 0;
          SCOPED_TRACE(testing::Message()
                       << "wanted " << wanted << ", added to " << added << ", offset " << offset);
          const auto scratch = device_scratch(cuda::batch_norm_backward_scratch(s));
          const Doubles* const expected[] = {&formula.dx, &formula.dresidual, &formula.dgamma,
                                             &formula.dbeta};
          std::vector<OnDevice<float>> outputs;
          std::vector<Floats> before;
          for (const Doubles* numbers : expected) {
            before.push_back(random_floats(static_cast<int64_t>(numbers->size()), 8, 1.0, 2.0));
            outputs.emplace_back(before.back(), offset);
          }
          const auto output = [&](size_t i) { return wanted >> i & 1 ? outputs[i].data() : nullptr; };
          cuda::batch_norm_backward({.dx = output(0),
                                     .dresidual = output(1),
                                     .dgamma = output(2),
                                     .dbeta = output(3),
                                     .add_dx = (added & 1) != 0,
                                     .add_dresidual = (added & 2) != 0,
                                     .add_dgamma = (added & 4) != 0,
                                     .add_dbeta = (added & 8) != 0},
                                    from, s, scratch);
          EXPECT_TRUE(scratch.intact());
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

INSTANTIATE_TEST_SUITE_P(Shapes, CudaNormKernels, testing::ValuesIn(shapes), name_of);

/// What the backward tests below read, for a shape in fours and for one that is not.
struct BackwardCase {
  explicit BackwardCase(const NormShape& shape)
      : s(shape),
        x(random_floats(s.rows * s.c, 1)),
        dy(random_floats(s.rows * s.c, 2)),
        residual(random_floats(s.rows * s.c, 7)),
        scale(random_floats(s.c, 3)),
        shift(random_floats(s.c, 4)),
        mean(random_floats(s.c, 5)),
        rstd(random_floats(s.c, 6, 0.5, 2.0)),
        scratch(device_scratch(cuda::batch_norm_backward_scratch(s))) {}
  NormBackward from(Activation f) const {
    return {.dy = dy, .x = x, .scale = scale, .shift = shift, .mean = mean, .rstd = rstd, .f = f};
  }
  int64_t size() const { return s.rows * s.c; }
  NormShape s;
  OnDevice<float> x, dy, residual, scale, shift, mean, rstd;
  OnDevice<uint8_t> scratch;
};

TEST_F(CudaNorm, GradientsOfAnInputThatIsItsOwnResidualAddUp) {
  for (const int64_t c : {17, 20}) {
    const BackwardCase given({40, c});
    NormBackward from = given.from(Activation::gelu);
    from.residual = given.x;
    const OnDevice<float> dx(given.size()), dresidual(given.size()), both(given.size());
    cuda::batch_norm_backward({.dx = dx, .dresidual = dresidual}, from, given.s, given.scratch);
    cuda::batch_norm_backward({.dx = both, .dresidual = both, .add_dx = true}, from, given.s, given.scratch);
    Doubles sum = doubles(dx.host());
    const Floats other = dresidual.host();
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
    EXPECT_TRUE(near(both, sum, 1e-6));
  }
}

TEST_F(CudaNorm, GradientsTakeTheMemoryOfTheOutputs) {
  for (const int64_t c : {17, 20})
    for (const Activation f : norm_activations) {
      const BackwardCase given({40, c});
      NormBackward from = given.from(f);
      from.residual = given.residual;
      const OnDevice<float> dx(given.size()), dresidual(given.size()), alone(given.size()),
          beside(given.size());
      cuda::batch_norm_backward({.dx = dx, .dresidual = dresidual}, from, given.s, given.scratch);
      const OnDevice<float> in_dy(given.dy.host()), in_dy_too(given.dy.host());
      from.dy = in_dy;
      cuda::batch_norm_backward({.dx = in_dy}, from, given.s, given.scratch);
      EXPECT_TRUE(same(in_dy, dx.host()));
      from.dy = in_dy_too;
      cuda::batch_norm_backward({.dx = beside, .dresidual = in_dy_too}, from, given.s, given.scratch);
      EXPECT_TRUE(same(in_dy_too, dresidual.host()));
      EXPECT_TRUE(same(beside, dx.host()));
    }
}

// So many rows that each thread turns several times, in fours and one by one.
TEST_F(CudaNorm, LongRuns) {
  for (const int64_t c : {1027, 1028}) {
    const BackwardCase given({1100, c});
    const NormShape& s = given.s;
    const auto n = static_cast<size_t>(given.size()), channels = static_cast<size_t>(c);
    const Floats x = given.x.host(), dy = given.dy.host(), scale = given.scale.host(),
                 shift = given.shift.host(), mean = given.mean.host(), rstd = given.rstd.host();
    const NormBackward from{.dy = dy.data(),
                            .x = x.data(),
                            .scale = scale.data(),
                            .shift = shift.data(),
                            .mean = mean.data(),
                            .rstd = rstd.data(),
                            .f = Activation::relu};
    std::vector<uint8_t> scratch(cpu::batch_norm_backward_scratch(s));
    Floats dx(n), dgamma(channels), dbeta(channels), y(n);
    cpu::batch_norm_backward({.dx = dx.data(), .dgamma = dgamma.data(), .dbeta = dbeta.data()}, from, s,
                             scratch.data());
    cpu::scale_shift_forward(y.data(), x.data(), scale.data(), shift.data(), nullptr, Activation::relu, s);
    const OnDevice<float> on_dx(given.size()), on_dgamma(c), on_dbeta(c), on_y(given.size()), too(x);
    cuda::batch_norm_backward({.dx = on_dx, .dgamma = on_dgamma, .dbeta = on_dbeta},
                              given.from(Activation::relu), s, given.scratch);
    EXPECT_TRUE(near(on_dx, dx, 1e-5));
    EXPECT_TRUE(near(on_dgamma, dgamma, 1e-5));
    EXPECT_TRUE(near(on_dbeta, dbeta, 1e-5));
    cuda::scale_shift_forward(on_y, given.x, given.scale, given.shift, nullptr, Activation::relu, s);
    EXPECT_TRUE(near(on_y, y, 1e-6));
    const OnDeviceStatistics found(c);
    const ConvEpilogue e{
        .scale = given.scale, .shift = given.shift, .f = Activation::relu, .statistics = found.to()};
    const auto block =
        device_scratch(cuda::convolution_epilogue_scratch(e.statistics.mean != nullptr, s.rows, c));
    cuda::convolution_epilogue(too, e, s.rows, c, block);
    const ChannelMoments expected(y, s);
    EXPECT_TRUE(same(too, on_y.host()));
    EXPECT_TRUE(near(found.mean, expected.mean, 1e-6));
    EXPECT_TRUE(near(found.variance, expected.variance, 3e-6));
  }
}

// Whichever block comes last: the order of additions does not depend on it.
TEST_F(CudaNorm, SameBits) {
  for (const int64_t c : {37, 64}) {
    const BackwardCase given({3001, c});
    Floats first;
    for (int i = 0; i < 4; ++i) {
      const OnDevice<float> dx(given.size()), dgamma(c), dbeta(c);
      const OnDeviceStatistics found(c);
      cuda::batch_norm_backward({.dx = dx, .dgamma = dgamma, .dbeta = dbeta}, given.from(Activation::relu),
                                given.s, given.scratch);
      const auto scratch = device_scratch(cuda::channel_statistics_scratch(given.s));
      cuda::channel_statistics(found.to(), given.x, given.s, scratch);
      Floats all = dx.host();
      for (const auto* more : {&dgamma, &dbeta, &found.mean, &found.variance}) {
        const Floats numbers = more->host();
        all.insert(all.end(), numbers.begin(), numbers.end());
      }
      if (i == 0) first = all;
      EXPECT_TRUE(same_bits(first, all));
    }
  }
}

}  // namespace
}  // namespace espalier::norm_test

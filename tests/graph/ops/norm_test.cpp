#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "graph/op_sample.h"
#include "support/bad_input.h"
#include "support/formulas.h"
#include "support/op_case.h"

namespace espalier {
namespace {

const AddOpSample batch_norm_sample{
    "batch_norm",
    {.inputs = {{2, 3, 3, 2}, {2}, {2}, {2}, {2}, {2, 3, 3, 2}},
     .attributes = {{"eps", 1e-5}, {"momentum", 0.1}, {"activation", std::string("none")}},
     .low = 0.5,
     .high = 2}};

struct Statistics {
  Doubles mean, variance;
};
Statistics statistics_of(const Doubles& x, size_t c) {
  const size_t rows = x.size() / c;
  Statistics s{Doubles(c), Doubles(c)};
  for (size_t i = 0; i < x.size(); ++i) s.mean[i % c] += x[i] / static_cast<double>(rows);
  for (size_t i = 0; i < x.size(); ++i)
    s.variance[i % c] += std::pow(x[i] - s.mean[i % c], 2) / static_cast<double>(rows);
  return s;
}

Doubles normalised(const Doubles& x, const Statistics& s, const Doubles& gamma, const Doubles& beta,
                   const Doubles* residual, Activation f) {
  const size_t c = gamma.size();
  Doubles y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t k = i % c;
    const double z = (x[i] - s.mean[k]) / std::sqrt(s.variance[k] + 1e-5) * gamma[k] + beta[k];
    y[i] = activated(f, z + (residual ? (*residual)[i] : 0.0));
  }
  return y;
}

/// A norm whose running statistics are a formula's, fresh at every call: the op moves them.
ops::BatchNorm norm_of(const Variable& gamma, const Variable& beta, bool training) {
  const int64_t c = gamma.shape()[0];
  return {.gamma = gamma,
          .beta = beta,
          .running_mean = Variable(random_tensor({c}, 40)),
          .running_variance = Variable(random_tensor({c}, 41, 0.5, 2.0)),
          .training = training};
}

void check_norm(const Shape& x, Activation f, bool with_residual, bool training) {
  SCOPED_TRACE(testing::Message() << x << ", activation " << static_cast<int>(f) << ", residual "
                                  << with_residual << ", training " << training);
  const int64_t c = x[-1];
  OpCase test;
  test.inputs = {x, {c}, {c}};
  if (with_residual) test.inputs.push_back(x);
  test.tolerance = 3e-5;
  test.op = [=](const std::vector<Variable>& v) {
    return ops::batch_norm(v[0], norm_of(v[1], v[2], training), f, with_residual ? v[3] : Variable());
  };
  test.reference = [=](const std::vector<Doubles>& v) {
    const ops::BatchNorm norm = norm_of(Variable(Tensor::zeros({c})), {}, training);
    const Statistics running{doubles(norm.running_mean.value().span<float>()),
                             doubles(norm.running_variance.value().span<float>())};
    return normalised(v[0], training ? statistics_of(v[0], static_cast<size_t>(c)) : running, v[1], v[2],
                      with_residual ? &v[3] : nullptr, f);
  };
  check(test);
}

TEST(NormOps, ReferenceAndGradients) {
  for (const Activation f : norm_activations)
    for (const bool residual : {false, true})
      for (const bool training : {false, true}) {
        check_norm({2, 3, 5, 17}, f, residual, training);
        check_norm({19, 3}, f, residual, training);
        check_norm({1, 5, 4, 64}, f, residual, training);
      }
  check_norm({4, 2, 2, 1}, Activation::relu, false, true);
  check_norm({3, 9, 1, 101}, Activation::relu, true, true);
}

TEST(NormOps, RunningStatisticsAreMovedByTheSamplesVariance) {
  // x = 1, 3: mean 2, variance of the sample 2; at momentum 0.1 from mean 10, variance 4
  ops::BatchNorm norm{.gamma = Variable(Tensor::full({1}, 1.0f)),
                      .beta = Variable(Tensor::zeros({1})),
                      .running_mean = Variable(Tensor::full({1}, 10.0f)),
                      .running_variance = Variable(Tensor::full({1}, 4.0f))};
  const Variable x(Tensor::from({2, 1}, Floats{1.0f, 3.0f}));
  ops::batch_norm(x, norm);
  EXPECT_FLOAT_EQ(norm.running_mean.value().item(), 9.2f);
  EXPECT_FLOAT_EQ(norm.running_variance.value().item(), 3.8f);
  norm.training = false;
  ops::batch_norm(x, norm);
  EXPECT_FLOAT_EQ(norm.running_mean.value().item(), 9.2f);
}

TEST(NormOps, ANanStaysOneBehindRelu) {
  Tensor x = random_tensor({3, 2}, 1);
  x.f32()[2] = std::nanf("");
  const Variable gamma(Tensor::full({2}, 1.0f)), beta(Tensor::zeros({2}));
  const Variable y = ops::batch_norm(Variable(x), norm_of(gamma, beta, false), Activation::relu);
  EXPECT_TRUE(std::isnan(y.value().f32()[2]));
  EXPECT_FALSE(std::isnan(y.value().f32()[3]));
}

struct ConvNormCase {
  Shape x, w;
  ops::Conv2dOptions options;
};
// 3x3 by Winograd and by oneDNN, 1x1 by our product and by oneDNN's
const ConvNormCase cases[] = {{{2, 18, 18, 17}, {33, 3, 3, 17}, {1, 1}},
                              {{2, 5, 5, 3}, {7, 3, 3, 3}, {2, 1}},
                              {{2, 9, 9, 48}, {49, 1, 1, 48}, {1, 0}},
                              {{2, 9, 9, 50}, {64, 1, 1, 50}, {2, 0}},
                              {{3, 6, 6, 5}, {6, 1, 1, 5}, {1, 0}}};

TEST(NormOps, StatisticsOfTheConvolutionAreThoseOfItsOutput) {
  for (const ConvNormCase& c : cases) {
    SCOPED_TRACE(testing::Message() << c.x << " " << c.w);
    const int64_t o = c.w[0];
    const Variable x(random_tensor(c.x, 1)), w(random_tensor(c.w, 2)), b(random_tensor({o}, 3, 4.0, 5.0));
    ops::BatchStatistics statistics{.center = random_tensor({o}, 5, 3.0, 6.0), .mean = {}, .variance = {}};
    const Variable z = ops::conv2d(x, w, b, c.options, Activation::none, &statistics);
    const Statistics expected = statistics_of(doubles(z.value().span<float>()), static_cast<size_t>(o));
    EXPECT_TRUE(near(statistics.mean, expected.mean, 1e-5));
    EXPECT_TRUE(near(statistics.variance, expected.variance, 1e-5));
  }
}

TEST(NormOps, InferenceFoldsTheNormIntoTheConvolution) {
  for (const ConvNormCase& c : cases)
    for (const Activation f : norm_activations)
      for (const bool bias : {false, true}) {
        SCOPED_TRACE(testing::Message() << c.x << " " << c.w << " bias " << bias);
        const int64_t o = c.w[0];
        const Variable x(random_tensor(c.x, 1));
        Variable w(random_tensor(c.w, 2), true);
        const Variable b = bias ? Variable(random_tensor({o}, 3)) : Variable();
        const auto norm = norm_of(Variable(random_tensor({o}, 6)), Variable(random_tensor({o}, 7)), false);
        const Variable unfolded = ops::conv2d_batch_norm(x, w, b, c.options, norm, f);
        const Variable residual(random_tensor(unfolded.shape(), 8));
        const Variable with_residual = ops::conv2d_batch_norm(x, w, b, c.options, norm, f, residual);
        w.set_requires_gradient(false);  // where nothing learns it is folded, too
        const Tensor frozen = ops::conv2d_batch_norm(x, w, b, c.options, norm, f).value();
        const NoGradient off;
        EXPECT_TRUE(same_bits(ops::conv2d_batch_norm(x, w, b, c.options, norm, f).value(), frozen));
        EXPECT_TRUE(near(ops::conv2d_batch_norm(x, w, b, c.options, norm, f).value(),
                         doubles(unfolded.value().span<float>()), 1e-5));
        EXPECT_TRUE(near(ops::conv2d_batch_norm(x, w, b, c.options, norm, f, residual).value(),
                         doubles(with_residual.value().span<float>()), 1e-5));
        struct : OpObserver {
          void recorded(const OpRecord& op, const Variable&) override { ops.emplace_back(op.op); }
          std::vector<std::string> ops;
        } seen;  // what describes a network shows both ops
        ops::conv2d_batch_norm(x, w, b, c.options, norm, f, residual);
        EXPECT_EQ(seen.ops, (std::vector<std::string>{"conv2d", "batch_norm"}));
      }
}

TEST(NormOps, BadArguments) {
  const Variable gamma(Tensor::zeros({3})), beta(Tensor::zeros({3}));
  const auto message = [&](const Shape& x, const Shape& residual, Activation f = Activation::none) {
    return message_of([&] {
      ops::batch_norm(Variable(Tensor::zeros(x)), norm_of(gamma, beta, true), f,
                      residual.axes() ? Variable(Tensor::zeros(residual)) : Variable());
    });
  };
  EXPECT_EQ(message({2, 4}, {}), "batch_norm: input has 4 channels, gamma has shape [3]");
  EXPECT_EQ(message({2, 3}, {3, 3}), "batch_norm: input has shape [2, 3], residual [3, 3]");
  EXPECT_EQ(message({1, 3}, {}),
            "batch_norm: one value a channel has no variance to train with, input [1, 3]");
  EXPECT_EQ(message({2, 3}, {}, Activation::tanh),
            "batch_norm: its own activation cannot be tanh, which has to follow it");
}

TEST(NormOps, BadArgumentsOfWhatIsFolded) {
  const NoGradient off;
  const Variable x(Tensor::zeros({2, 4, 4, 5})), w(Tensor::zeros({3, 1, 1, 5}));
  const auto message = [&](int64_t channels, const Shape& residual, Activation f = Activation::none) {
    const Variable gamma(Tensor::zeros({channels})), beta(Tensor::zeros({channels}));
    return message_of([&] {
      ops::conv2d_batch_norm(x, w, {}, {}, norm_of(gamma, beta, false), f,
                             residual.axes() ? Variable(Tensor::zeros(residual)) : Variable());
    });
  };
  EXPECT_EQ(message(4, {}), "batch_norm: input has 3 channels, gamma has shape [4]");
  EXPECT_EQ(message(3, {2, 4, 4, 1}), "batch_norm: input has shape [2, 4, 4, 3], residual [2, 4, 4, 1]");
  EXPECT_EQ(message(3, {}, Activation::sigmoid),
            "batch_norm: its own activation cannot be sigmoid, which has to follow it");
}

}  // namespace
}  // namespace espalier

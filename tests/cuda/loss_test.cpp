#include <limits>

#include "cuda/card.h"
#include "cuda/support.h"
#include "support/formulas.h"

namespace espalier::loss_test {
namespace {

using CudaCrossEntropy = OnCard<>;
using CudaKlDivergence = OnCard<>;
using CudaTally = OnCard<>;

struct Result {
  Floats loss, gradient;
  std::vector<int32_t> rank;
};

Result run(const Floats& logits, const std::vector<int32_t>& labels, float smoothing) {
  const auto n = static_cast<int64_t>(labels.size()), all = static_cast<int64_t>(logits.size());
  const OnDevice<float> loss(n), gradient(all), z(logits);
  const OnDevice<int32_t> rank(n), y(labels);
  cuda::softmax_cross_entropy(loss, gradient, rank, z, y, smoothing, n, all / n);
  EXPECT_TRUE(loss.intact() && gradient.intact() && rank.intact()) << "wrote outside its outputs";
  return {loss.host(), gradient.host(), rank.host()};
}

/// On logits around `offset`, which changes nothing but what rounds.
void check_against_double(double offset) {
  for (const int64_t classes : {1, 2, 10, 31, 32, 33, 100, 1000, 1024, 1025, 2500})
    for (const int64_t n : {1, 7, 130})
      for (const float smoothing : {0.0f, 0.1f}) {
        if (classes > 100 && n > 100) continue;
        SCOPED_TRACE(testing::Message() << classes << " classes, batch " << n << ", smoothing " << smoothing);
        const Floats z = random_floats(n * classes, 1, offset - 8, offset + 8);
        std::vector<int32_t> labels(static_cast<size_t>(n));
        for (size_t i = 0; i < labels.size(); ++i)
          labels[i] = static_cast<int32_t>(random_below(2, i, classes));
        const CrossEntropyFormula expected(z, labels, double{smoothing}, offset);
        Result r = run(z, labels, smoothing);
        EXPECT_TRUE(near(r.loss, expected.loss, 1e-6));
        for (float& each : r.gradient) each *= static_cast<float>(n);
        EXPECT_TRUE(near(r.gradient, expected.gradient, 1e-6));
        EXPECT_EQ(r.rank, expected.rank);
      }
}

TEST_F(CudaCrossEntropy, AgainstDouble) { check_against_double(0); }

TEST_F(CudaCrossEntropy, AnOffsetThatAllLogitsShareCostsNoDigits) {
  for (const double offset : {1e4, -1e3}) {
    SCOPED_TRACE(offset);
    check_against_double(offset);
  }
}

TEST_F(CudaCrossEntropy, LargeLogitsDoNotOverflowAndSmallOnesDoNotVanish) {
  const Result r = run({1000, 999, -1000, -2000}, {1}, 0.0f);
  EXPECT_NEAR(r.loss[0], 1 + std::log1p(std::exp(-1.0)), 1e-4);
  EXPECT_NEAR(r.gradient[0], 1 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_EQ(r.gradient[3], 0.0f);
  for (const size_t classes : {3, 33, 2000})
    EXPECT_NEAR(run(Floats(classes, -1000.0f), {1}, 0.0f).loss[0], std::log(static_cast<double>(classes)),
                1e-4);
}

TEST_F(CudaCrossEntropy, GradientAndRankAreOptional) {
  const Floats z = random_floats(33 * 10, 1);
  const std::vector<int32_t> labels(33, 4);
  const OnDevice<float> loss(33), dz(z);
  const OnDevice<int32_t> dlabels(labels);
  cuda::softmax_cross_entropy(loss, nullptr, nullptr, dz, dlabels, 0.1f, 33, 10);
  EXPECT_TRUE(same(loss, run(z, labels, 0.1f).loss));
}

TEST_F(CudaCrossEntropy, RankBreaksTiesByIndex) {
  EXPECT_EQ(run({2, 2, 2, 2}, {0}, 0).rank[0], 0);
  EXPECT_EQ(run({2, 2, 2, 2}, {3}, 0).rank[0], 3);
  EXPECT_EQ(run({3, 2, 2, 5}, {1}, 0).rank[0], 2);
  EXPECT_EQ(run(Floats(2000, 1.0f), {1500}, 0).rank[0], 1500);
}

TEST_F(CudaCrossEntropy, NaNShowsInTheLossAndIsNeverRight) {
  for (const int32_t place : {0, 5, 39})
    for (const int32_t label : {0, 5, 39})
      for (const float smoothing : {0.0f, 0.1f}) {
        Floats z = random_floats(40, 1);
        z[static_cast<size_t>(place)] = std::numeric_limits<float>::quiet_NaN();
        const Result r = run(z, {label}, smoothing);
        EXPECT_TRUE(std::isnan(r.loss[0])) << "NaN at " << place << ", label " << label;
        if (place == label) {
          EXPECT_EQ(r.rank[0], 40) << "last";
        }
      }
}

TEST_F(CudaCrossEntropy, InfiniteLogits) {
  const float infinity = std::numeric_limits<float>::infinity();
  const Result r = run({1, -infinity, 2}, {0}, 0.0f);  // a class ruled out, as masking does
  EXPECT_NEAR(r.loss[0], std::log1p(std::exp(1.0)), 1e-6);
  EXPECT_EQ(r.gradient[1], 0.0f);
  EXPECT_TRUE(std::isnan(run({1, infinity, 2}, {0}, 0.0f).loss[0]));
}

struct Divergence {
  Floats loss, gradient;
};

Divergence divergence(const Floats& logits, const Floats& teacher, size_t classes, float temperature) {
  const auto all = static_cast<int64_t>(logits.size()), n = all / static_cast<int64_t>(classes);
  const OnDevice<float> loss(n), gradient(all), z(logits), t(teacher);
  cuda::softmax_kl_divergence(loss, gradient, z, t, temperature, n, static_cast<int64_t>(classes));
  EXPECT_TRUE(loss.intact() && gradient.intact()) << "wrote outside its outputs";
  return {loss.host(), gradient.host()};
}

TEST_F(CudaKlDivergence, AgainstDouble) {
  for (const double offset : {0.0, 1e4})
    for (const size_t classes : {1, 2, 10, 31, 32, 33, 100, 1024, 1025, 2500})
      for (const size_t n : {1, 7, 130})
        for (const float temperature : {1.0f, 4.0f, 20.0f}) {
          if (classes > 100 && n > 100) continue;
          SCOPED_TRACE(testing::Message() << classes << " classes, batch " << n << ", T " << temperature);
          const auto all = static_cast<int64_t>(n * classes);
          const Floats z = random_floats(all, 1, offset - 8, offset + 8),
                       t = random_floats(all, 2, -offset - 8, -offset + 8);
          const KlDivergenceFormula expected(z, t, classes, temperature);
          Divergence d = divergence(z, t, classes, temperature);
          EXPECT_TRUE(near(d.loss, expected.loss, 2e-6));
          for (float& each : d.gradient) each *= static_cast<float>(n);
          EXPECT_TRUE(near(d.gradient, expected.gradient, 2e-6));
        }
}

TEST_F(CudaKlDivergence, OfTheSameLogitsHasNoGradient) {
  for (const size_t classes : {3, 37, 1500}) {
    const Floats z = random_floats(static_cast<int64_t>(5 * classes), 1, -9, 9);
    const Divergence d = divergence(z, z, classes, 3);
    EXPECT_TRUE(near(d.loss, Doubles(5, 0.0), 1e-9));
    EXPECT_EQ(d.gradient, Floats(5 * classes, 0.0f));
  }
}

TEST_F(CudaKlDivergence, TheGradientIsOptional) {
  const Floats z = random_floats(330, 1), t = random_floats(330, 2);
  const OnDevice<float> loss(33), dz(z), dt(t);
  cuda::softmax_kl_divergence(loss, nullptr, dz, dt, 3, 33, 10);
  EXPECT_TRUE(same(loss, divergence(z, t, 10, 3).loss));
}

TEST_F(CudaKlDivergence, NaNAndInfiniteLogits) {
  const float infinity = std::numeric_limits<float>::infinity(),
              nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(divergence({1, nan, 2}, {1, 3, 2}, 3, 1).loss[0]));
  EXPECT_TRUE(std::isnan(divergence({1, 3, 2}, {1, nan, 2}, 3, 1).loss[0]));
  EXPECT_TRUE(std::isnan(divergence({1, infinity, 2}, {1, 3, 2}, 3, 1).loss[0]));
  const double e = std::exp(1.0);
  EXPECT_NEAR(divergence({1, 3, 2}, {1, -infinity, 2}, 3, 1).loss[0],
              std::log(e + e * e * e + e * e) - std::log(e + e * e), 1e-6);
  EXPECT_NEAR(divergence({1, -infinity, 2}, {1, -infinity, 2}, 3, 1).loss[0], 0, 1e-9);
}

TEST_F(CudaTally, AddsUpBatches) {
  std::vector<int32_t> rank(1003);
  for (size_t i = 0; i < rank.size(); ++i) rank[i] = static_cast<int32_t>(random_below(3, i, 12));
  const float loss = 0.1f;
  Tally expected{.loss_sum = 1, .correct = 10, .in_five = 20};
  const OnDevice<Tally> tally(std::vector<Tally>{expected});
  const OnDevice<float> dloss(Floats{loss});
  const OnDevice<int32_t> drank(rank);
  for (const int64_t n : {1, 6, 1003}) {
    cpu::add_to_tally(&expected, &loss, rank.data(), n);
    cuda::add_to_tally(tally, dloss, drank, n);
  }
  const Tally found = tally.host()[0];
  EXPECT_EQ(found.loss_sum, expected.loss_sum);
  EXPECT_EQ(found.correct, expected.correct);
  EXPECT_EQ(found.in_five, expected.in_five);
}

}  // namespace
}  // namespace espalier::loss_test

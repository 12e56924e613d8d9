#include <gtest/gtest.h>

#include <limits>

#include "espalier/core/kernels.h"
#include "support/formulas.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier::loss_test {
namespace {

struct Result {
  Floats loss, gradient;
  std::vector<int32_t> rank;
};

Result run(const Floats& logits, const std::vector<int32_t>& labels, float smoothing) {
  const size_t n = labels.size();
  Result r{Floats(n, 9.0f), Floats(logits.size(), 9.0f), std::vector<int32_t>(n, -9)};
  cpu::softmax_cross_entropy(r.loss.data(), r.gradient.data(), r.rank.data(), logits.data(), labels.data(),
                             smoothing, static_cast<int64_t>(n), static_cast<int64_t>(logits.size() / n));
  return r;
}

/// On logits around `offset`, which changes nothing but what rounds.
void check_against_double(double offset) {
  const WithThreads three(3);
  for (const int64_t classes : {1, 2, 7, 10, 15, 16, 17, 33, 1001})
    for (const int64_t n : {1, 7, 500})
      for (const float smoothing : {0.0f, 0.1f}) {
        const Floats z = random_floats(n * classes, 1, offset - 8, offset + 8);
        std::vector<int32_t> labels(static_cast<size_t>(n));
        for (size_t i = 0; i < labels.size(); ++i)
          labels[i] = static_cast<int32_t>(random_below(2, i, classes));
        const CrossEntropyFormula expected(z, labels, double{smoothing}, offset);
        Result r = run(z, labels, smoothing);
        EXPECT_TRUE(near(r.loss, expected.loss, 1e-6)) << classes << " classes, batch " << n;
        for (float& each : r.gradient) each *= static_cast<float>(n);
        EXPECT_TRUE(near(r.gradient, expected.gradient, 1e-6)) << classes << " classes, batch " << n;
        EXPECT_EQ(r.rank, expected.rank);
      }
}

TEST(CrossEntropy, AgainstDouble) { check_against_double(0); }

TEST(CrossEntropy, AnOffsetThatAllLogitsShareCostsNoDigits) {
  for (const double offset : {1e3, 1e4, -1e3}) {
    SCOPED_TRACE(offset);
    check_against_double(offset);
  }
}

TEST(CrossEntropy, LargeLogitsDoNotOverflow) {
  const Result r = run({1000, 999, -1000, -2000}, {1}, 0.0f);
  EXPECT_NEAR(r.loss[0], 1 + std::log1p(std::exp(-1.0)), 1e-4);
  EXPECT_NEAR(r.gradient[0], 1 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_EQ(r.gradient[3], 0.0f);
}

TEST(CrossEntropy, SmallLogitsDoNotVanish) {
  for (const size_t classes : {3, 16, 17})
    EXPECT_NEAR(run(Floats(classes, -1000.0f), {1}, 0.0f).loss[0], std::log(static_cast<double>(classes)),
                1e-4);
}

TEST(CrossEntropy, GradientAndRankAreOptional) {
  const Floats z = random_floats(33 * 10, 1);
  const std::vector<int32_t> labels(33, 4);
  const Result full = run(z, labels, 0.1f);
  Floats loss(33);
  cpu::softmax_cross_entropy(loss.data(), nullptr, nullptr, z.data(), labels.data(), 0.1f, 33, 10);
  EXPECT_TRUE(same_bits(loss, full.loss));
}

TEST(CrossEntropy, RankBreaksTiesByIndex) {
  EXPECT_EQ(run({2, 2, 2, 2}, {0}, 0).rank[0], 0);
  EXPECT_EQ(run({2, 2, 2, 2}, {3}, 0).rank[0], 3);
  EXPECT_EQ(run({3, 2, 2, 1}, {2}, 0).rank[0], 2);
  EXPECT_EQ(run({3, 2, 2, 5}, {1}, 0).rank[0], 2);
}

TEST(Tally, AddsUpBatches) {
  Tally tally{.loss_sum = 1, .correct = 10, .in_five = 20};
  const float loss = 0.5f;
  const std::vector<int32_t> rank = {0, 4, 5, 0, 1000, 1};
  cpu::add_to_tally(&tally, &loss, rank.data(), 6);
  EXPECT_EQ(tally.loss_sum, 4.0);
  EXPECT_EQ(tally.correct, 12);
  EXPECT_EQ(tally.in_five, 24);
}

TEST(CrossEntropy, NaNShowsInTheLossAndIsNeverRight) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const int32_t place : {0, 5, 19}) {
    Floats z = random_floats(20, 1);
    z[static_cast<size_t>(place)] = nan;
    for (const int32_t label : {0, 5, 19}) {
      const Result r = run(z, {label}, 0);
      EXPECT_TRUE(std::isnan(r.loss[0])) << "NaN at " << place << ", label " << label;
      if (place == label) {
        EXPECT_EQ(r.rank[0], 20) << "last";
      }
    }
  }
}

TEST(CrossEntropy, InfiniteLogits) {
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
  const size_t n = logits.size() / classes;
  Divergence d{Floats(n, 9.0f), Floats(logits.size(), 9.0f)};
  cpu::softmax_kl_divergence(d.loss.data(), d.gradient.data(), logits.data(), teacher.data(), temperature,
                             static_cast<int64_t>(n), static_cast<int64_t>(classes));
  return d;
}

/// On logits around `offset`, which changes nothing but what rounds.
void check_divergence_against_double(double offset) {
  const WithThreads three(3);
  for (const size_t classes : {1, 2, 7, 10, 15, 16, 17, 33, 1001})
    for (const size_t n : {1, 7, 500})
      for (const float temperature : {0.5f, 1.0f, 4.0f, 20.0f}) {
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

TEST(KlDivergence, AgainstDouble) { check_divergence_against_double(0); }

TEST(KlDivergence, AnOffsetThatAllLogitsShareCostsNoDigits) {
  for (const double offset : {1e3, -1e4}) {
    SCOPED_TRACE(offset);
    check_divergence_against_double(offset);
  }
}

TEST(KlDivergence, OfTheSameLogitsIsZeroAndHasNoGradient) {
  for (const size_t classes : {3, 16, 37})
    for (const float temperature : {1.0f, 3.0f}) {
      const Floats z = random_floats(static_cast<int64_t>(5 * classes), 1, -9, 9);
      const Divergence d = divergence(z, z, classes, temperature);
      EXPECT_TRUE(near(d.loss, Doubles(5, 0.0), 1e-9));
      EXPECT_EQ(d.gradient, Floats(5 * classes, 0.0f));
    }
}

// sum p u by itself would have lost all digits: it is about 1e-8 of its terms.
TEST(KlDivergence, OfNearLogitsAtAHighTemperatureKeepsItsDigits) {
  const Floats t = random_floats(100, 1, -4, 4);
  Floats z = t;
  for (size_t k = 0; k < z.size(); ++k) z[k] += 0.01f * static_cast<float>(k % 7);
  const KlDivergenceFormula expected(z, t, 100, 50);
  EXPECT_NEAR(divergence(z, t, 100, 50).loss[0] / expected.loss[0], 1, 2e-3);
  EXPECT_LT(expected.loss[0], 1e-3);
}

TEST(KlDivergence, LargeLogitsDoNotOverflow) {
  const Divergence d = divergence({1000, 999, -1000, -2000}, {-3000, -2000, -1000, -2000}, 2, 1);
  EXPECT_NEAR(d.loss[0], 1 + std::log1p(std::exp(-1.0)), 1e-4) << "the teacher is sure of the second";
  EXPECT_NEAR(d.gradient[1], -0.5 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_EQ(d.gradient[2], 0.0f);
}

TEST(KlDivergence, TheGradientIsOptional) {
  const Floats z = random_floats(330, 1), t = random_floats(330, 2);
  Floats loss(33);
  cpu::softmax_kl_divergence(loss.data(), nullptr, z.data(), t.data(), 3, 33, 10);
  EXPECT_TRUE(same_bits(loss, divergence(z, t, 10, 3).loss));
}

TEST(KlDivergence, NaNShowsInTheLoss) {
  const Floats sound = random_floats(20, 1);
  for (const size_t place : {0, 5, 19}) {
    Floats broken = sound;
    broken[place] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(std::isnan(divergence(broken, sound, 20, 2).loss[0])) << place;
    EXPECT_TRUE(std::isnan(divergence(sound, broken, 20, 2).loss[0])) << place;
  }
}

TEST(KlDivergence, InfiniteLogits) {
  const float infinity = std::numeric_limits<float>::infinity();
  // The teacher rules a class out: 0 log 0 is 0.
  const Divergence d = divergence({1, 3, 2}, {1, -infinity, 2}, 3, 1);
  const double e = std::exp(1.0), of_student = std::log(e + e * e * e + e * e),
               of_teacher = std::log(e + e * e);
  EXPECT_NEAR(d.loss[0], of_student - of_teacher, 1e-6);
  EXPECT_NEAR(d.gradient[1], std::exp(3 - of_student), 1e-6);
  EXPECT_NEAR(divergence({1, -infinity, 2}, {1, -infinity, 2}, 3, 1).loss[0], 0, 1e-9) << "both do";
  EXPECT_EQ(divergence({1, -infinity, 2}, {1, 3, 2}, 3, 1).loss[0], infinity) << "only the student does";
  EXPECT_TRUE(std::isnan(divergence({1, infinity, 2}, {1, 3, 2}, 3, 1).loss[0]));
}

}  // namespace
}  // namespace espalier::loss_test

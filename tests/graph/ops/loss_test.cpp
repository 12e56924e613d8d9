#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "support/bad_input.h"
#include "support/op_case.h"

namespace espalier {
namespace {

TEST(SoftmaxCrossEntropy, ReferenceAndGradients) {
  for (const float smoothing : {0.0f, 0.1f})
    for (const auto& [n, classes] : {std::pair<int64_t, int64_t>{1, 2}, {7, 10}, {33, 17}, {2, 1001}}) {
      SCOPED_TRACE(testing::Message() << n << "x" << classes << ", smoothing " << smoothing);
      std::vector<int32_t> labels(static_cast<size_t>(n));
      for (size_t i = 0; i < labels.size(); ++i)
        labels[i] = static_cast<int32_t>(random_below(2, i, classes));
      const Tensor targets = Tensor::from({n}, labels);
      check({.inputs = {{n, classes}},
             .op = [=](const auto& v) { return ops::softmax_cross_entropy(v[0], targets, smoothing).loss; },
             .reference =
                 [=](const auto& v) {
                   double loss = 0;
                   for (size_t i = 0; i < labels.size(); ++i) {
                     const double* z = v[0].data() + static_cast<int64_t>(i) * classes;
                     double total = 0;
                     for (int64_t k = 0; k < classes; ++k) total += std::exp(z[k]);
                     for (int64_t k = 0; k < classes; ++k)
                       loss -= ((k == labels[i] ? 1.0 - smoothing : 0.0) +
                                smoothing / static_cast<double>(classes)) *
                               (z[k] - std::log(total));
                   }
                   return Doubles{loss / static_cast<double>(n)};
                 },
             .tolerance = 1e-6,
             .low = -5,
             .high = 5});
    }
}

TEST(SoftmaxCrossEntropy, RanksTheLabel) {
  const Variable logits(Tensor::from({3, 4}, Floats{4, 3, 2, 1, 4, 3, 2, 1, 1, 1, 1, 1}));
  const Tensor rank =
      ops::softmax_cross_entropy(logits, Tensor::from({3}, std::vector<int32_t>{0, 3, 2})).rank;
  EXPECT_TRUE(std::ranges::equal(rank.span<int32_t>(), std::vector<int32_t>{0, 3, 2}));
}

TEST(SoftmaxCrossEntropy, GradientIsScaledByWhatComesBehind) {
  const Variable z(random_tensor({5, 3}, 1), true), w(z.value().clone(), true);
  const Tensor labels = Tensor::zeros({5}, DType::i32);
  ops::softmax_cross_entropy(z, labels).loss.backward();
  ops::scale(ops::softmax_cross_entropy(w, labels).loss, 4.0f).backward();
  for (int i = 0; i < 15; ++i) EXPECT_FLOAT_EQ(w.gradient().f32()[i], 4 * z.gradient().f32()[i]);
}

TEST(SoftmaxCrossEntropy, BadArguments) {
  const auto message = [](const Shape& shape, const std::vector<int32_t>& labels, float smoothing = 0) {
    return message_of([&] {
      ops::softmax_cross_entropy(Variable(Tensor::zeros(shape)),
                                 Tensor::from({static_cast<int64_t>(labels.size())}, labels), smoothing);
    });
  };
  EXPECT_EQ(message({3}, {0, 1, 2}), "cross-entropy: expects logits [N,classes], found [3]");
  EXPECT_EQ(message({2, 3}, {0}), "cross-entropy: 2 rows of logits, labels of shape [1]");
  EXPECT_EQ(message({0, 3}, {}), "cross-entropy: 0 rows of logits, labels of shape [0]");
  EXPECT_EQ(message({2, 3}, {0, 3}), "cross-entropy: label 3 with 3 classes");
  EXPECT_EQ(message({2, 3}, {-1, 0}), "cross-entropy: label -1 with 3 classes");
  EXPECT_TRUE(contains(message({1, 3}, {0}, 1.0f), "label smoothing 1 is not in [0,1)"));
  EXPECT_TRUE(contains(message({1, 3}, {0}, -0.5f), "label smoothing -0.5 is not in [0,1)"));
}

TEST(SoftmaxKlDivergence, ReferenceAndGradients) {
  for (const float temperature : {1.0f, 4.0f})
    for (const auto& [n, classes] : {std::pair<int64_t, int64_t>{1, 2}, {7, 10}, {33, 17}, {2, 1001}}) {
      SCOPED_TRACE(testing::Message() << n << "x" << classes << ", T " << temperature);
      const Tensor teacher = random_tensor({n, classes}, 3, -5, 5);
      check({.inputs = {{n, classes}},
             .op = [=](const auto& v) { return ops::softmax_kl_divergence(v[0], teacher, temperature); },
             .reference =
                 [=](const auto& v) {
                   const double t2 = double{temperature} * temperature;
                   double loss = 0;
                   for (int64_t i = 0; i < n; ++i) {
                     const double* z = v[0].data() + i * classes;
                     const float* t = teacher.f32() + i * classes;
                     double total = 0, teachers = 0;
                     for (int64_t k = 0; k < classes; ++k) {
                       total += std::exp(z[k] / temperature);
                       teachers += std::exp(t[k] / double{temperature});
                     }
                     for (int64_t k = 0; k < classes; ++k) {
                       const double q = std::exp(z[k] / temperature) / total,
                                    p = std::exp(t[k] / double{temperature}) / teachers;
                       loss += t2 * p * (std::log(p) - std::log(q));
                     }
                   }
                   return Doubles{loss / static_cast<double>(n)};
                 },
             .tolerance = 2e-6,
             .low = -5,
             .high = 5});
    }
}

TEST(SoftmaxKlDivergence, OfALogitOfTwoIsWhatAHandComputes) {
  // q = (1/2, 1/2), p = (3/4, 1/4) at T = 2: KL = 3/4 log 3/2 + 1/4 log 1/2, times 4.
  const Variable z(Tensor::zeros({1, 2}), true);
  const Tensor teacher = Tensor::from({1, 2}, Floats{2 * std::log(3.0f), 0});
  const Variable loss = ops::softmax_kl_divergence(z, teacher, 2);
  EXPECT_NEAR(loss.value().item(), 4 * (0.75 * std::log(1.5) - 0.25 * std::log(2.0)), 1e-6);
  loss.backward();
  EXPECT_NEAR(z.gradient().f32()[0], 2 * (0.5 - 0.75), 1e-6);
  EXPECT_NEAR(z.gradient().f32()[1], 2 * (0.5 - 0.25), 1e-6);
}

TEST(SoftmaxKlDivergence, GradientIsScaledByWhatComesBehind) {
  const Variable z(random_tensor({5, 3}, 1), true), w(z.value().clone(), true);
  const Tensor teacher = random_tensor({5, 3}, 2);
  ops::softmax_kl_divergence(z, teacher, 3).backward();
  ops::scale(ops::softmax_kl_divergence(w, teacher, 3), 4.0f).backward();
  for (int i = 0; i < 15; ++i) EXPECT_FLOAT_EQ(w.gradient().f32()[i], 4 * z.gradient().f32()[i]);
}

TEST(SoftmaxKlDivergence, BadArguments) {
  const auto message = [](const Shape& logits, const Shape& teacher, float temperature = 1) {
    return message_of([&] {
      ops::softmax_kl_divergence(Variable(Tensor::zeros(logits)), Tensor::zeros(teacher), temperature);
    });
  };
  EXPECT_EQ(message({3}, {3}), "kl_divergence: expects logits [N,classes], found [3]");
  EXPECT_EQ(message({0, 3}, {0, 3}), "kl_divergence: expects logits [N,classes], found [0, 3]");
  EXPECT_EQ(message({2, 3}, {2, 4}), "kl_divergence: logits have shape [2, 3], the teacher's [2, 4]");
  EXPECT_EQ(message({2, 3}, {2, 3}, 0), "kl_divergence: temperature 0 is not above 0");
  EXPECT_EQ(
      message_of([] {
        ops::softmax_kl_divergence(Variable(Tensor::zeros({2, 3})), Tensor::zeros({2, 3}, DType::i32), 1);
      }),
      "kl_divergence: types differ, f32 and i32");
}

}  // namespace
}  // namespace espalier

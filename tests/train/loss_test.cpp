#include "espalier/train/loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "espalier/run/build.h"
#include "espalier/train/evaluate.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

const Floats logits{1, 0, -1, 2, 2, 0};
Variable two_rows() { return Variable(Tensor::from({2, 3}, logits)); }
Tensor labels(std::vector<int32_t> of) { return Tensor::from({2}, of); }

/// -sum_k t_k log softmax(row)_k with t = (1 - smoothing) onehot(label) + smoothing / 3.
double by_hand(const std::vector<int32_t>& of, double smoothing) {
  double sum = 0;
  for (size_t n = 0; n < 2; ++n) {
    const float* row = logits.data() + 3 * n;
    const double all = std::log(std::exp(row[0]) + std::exp(row[1]) + std::exp(row[2]));
    for (int k = 0; k < 3; ++k) sum += (smoothing / 3 + (k == of[n] ? 1 - smoothing : 0)) * (all - row[k]);
  }
  return sum / 2;
}

TEST(Loss, SmoothsWhatTrainingMakesSmallAndNotWhatIsMeasured) {
  const auto loss = make_loss({.type = "cross_entropy", .label_smoothing = 0.3});
  const Batch batch{.images = {}, .labels = labels({0, 2}), .size = 2, .other_labels = {}};
  const LossValue trained = loss->train(two_rows(), batch),
                  measured = loss->measure(two_rows(), batch.labels);
  EXPECT_NEAR(trained.loss.value().item(), by_hand({0, 2}, 0.3), 1e-6);
  EXPECT_NEAR(measured.loss.value().item(), by_hand({0, 2}, 0), 1e-6);
  for (const Tensor* rank : {&trained.rank, &measured.rank}) {
    EXPECT_EQ(rank->data<int32_t>()[0], 0);
    EXPECT_EQ(rank->data<int32_t>()[1], 2);
  }
}

TEST(Loss, MixedImagesCountForBothTheirLabels) {
  const auto loss = make_loss({.label_smoothing = 0.1});
  Batch batch{.images = {}, .labels = labels({0, 2}), .size = 2, .other_labels = labels({1, 0})};
  batch.share = 0.75f;
  const LossValue mixed = loss->train(two_rows(), batch);
  EXPECT_NEAR(mixed.loss.value().item(), 0.75 * by_hand({0, 2}, 0.1) + 0.25 * by_hand({1, 0}, 0.1), 1e-6);
  EXPECT_EQ(mixed.rank.data<int32_t>()[1], 2) << "by the larger share";
}

TEST(Loss, IsMadeByName) {
  EXPECT_EQ(loss_names(), std::vector<std::string>{"cross_entropy"});
  EXPECT_EQ(message_of([] { make_loss({.type = "cross_entrop"}); }),
            "loss: no type 'cross_entrop', did you mean 'cross_entropy'?");
}

TEST(Loss, OfAConfigIsThatOfTheStageAndIsMeasuredByTheLastThatTrains) {
  const std::string stages =
      R"({"name": "a", "train": {"steps": 1, "label_smoothing": 0.2, "loss": "cross_entropy",
          "optimizer": {"type": "sgd", "lr": 0.1}}}, {"name": "b", "evaluate": {}})";
  const Config config = small_config(stages);
  const Batch batch{.images = {}, .labels = labels({0, 2}), .size = 2, .other_labels = {}};
  EXPECT_NEAR(build_loss(*config.stages[0].train)->train(two_rows(), batch).loss.value().item(),
              by_hand({0, 2}, 0.2), 1e-6);
  EXPECT_NEAR(build_loss(config)->measure(two_rows(), batch.labels).loss.value().item(), by_hand({0, 2}, 0),
              1e-6);
  Config unknown = config;
  unknown.stages[0].train->loss = "hinge";
  EXPECT_THROW(build_loss(unknown), UsageError);
}

TEST(Loss, OneOfAProgramsOwnIsEvaluated) {
  struct Twice : Loss {
    LossValue of(const Variable& logits, const Tensor& labels, bool) const override {
      auto result = ops::softmax_cross_entropy(logits, labels);
      return {ops::scale(result.loss, 2), result.rank};
    }
  } const twice;
  const Dataset data = columns(20, 1);
  Loader loader(data, {.batch = 10});
  const auto model = make_model({.type = "mlp", .input = {4, 4, 1}, .classes = 4, .hidden = {8}}, 0);
  const Evaluation once = evaluate(*model, loader), both = evaluate(*model, loader, {.loss = twice});
  EXPECT_NEAR(both.loss, 2 * once.loss, 1e-6);
  EXPECT_EQ(both.accuracy, once.accuracy);
}

}  // namespace
}  // namespace espalier

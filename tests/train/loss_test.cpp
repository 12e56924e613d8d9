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
  unknown.stages[0].train->loss.type = "hinge";
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

/// Of a program: `factor` times cross-entropy.
class Times : public Loss {
 public:
  explicit Times(const LossOptions& options)
      : factor_(options.extra.number("factor")), smoothing_(options.label_smoothing) {}

 protected:
  LossValue of(const Variable& logits, const Tensor& labels, bool training) const override {
    auto result =
        ops::softmax_cross_entropy(logits, labels, training ? static_cast<float>(smoothing_) : 0.0f);
    return {ops::scale(result.loss, static_cast<float>(factor_)), result.rank};
  }

 private:
  double factor_, smoothing_;
};

TEST(Loss, OneOfAProgramsOwnIsNamedInAConfigWithItsOptions) {
  const auto config_with = [](const std::string& loss, const std::string& more = "") {
    return small_config(R"({"name": "a", "train": {"steps": 1, "loss": )" + loss + more +
                        R"(, "optimizer": {"type": "sgd", "lr": 0.1}}})");
  };
  const auto written = [&](const std::string& loss) {
    return config_json(config_with(loss))["stages"][0]["train"]["loss"].dump();
  };
  EXPECT_EQ(written(R"({"type": "cross_entropy"})"), R"("cross_entropy")");
  EXPECT_EQ(message_of([&] { config_with("3"); }),
            "small.json: /stages/0/train/loss: found 3, expected one of cross_entropy");

  const LossInfo info{
      .name = "times",
      .help = "a multiple of cross-entropy",
      .extra = {{.name = "factor", .help = "how many times", .value = 2.0, .from = 0, .to = 10}},
      .make = [](const LossOptions& o) -> std::unique_ptr<Loss> { return std::make_unique<Times>(o); }};
  losses().add(info);
  EXPECT_EQ(message_of([&] { losses().add(info); }), "loss: 'times' is there already");

  const Tensor wanted = labels({0, 2});
  const auto measured = [&](const std::string& loss) {
    return build_loss(config_with(loss))->measure(two_rows(), wanted).loss.value().item();
  };
  EXPECT_NEAR(measured(R"("times")"), 2 * by_hand({0, 2}, 0), 1e-6);
  EXPECT_NEAR(measured(R"({"type": "times", "factor": 3})"), 3 * by_hand({0, 2}, 0), 1e-6);
  EXPECT_EQ(written(R"("cross_entropy")"), R"("cross_entropy")");
  EXPECT_EQ(written(R"("times")"), R"({"type":"times","factor":2.0})");
  EXPECT_EQ(written(R"({"type": "times", "factor": 3})"), R"({"type":"times","factor":3.0})");

  const auto refusal = [&](const std::string& loss) { return message_of([&] { config_with(loss); }); };
  const std::string at = "small.json: /stages/0/train/loss";
  EXPECT_EQ(refusal(R"({"type": "times", "factor": 11})"),
            at + "/factor: found 11, expected a number from 0 to 10");
  EXPECT_EQ(refusal(R"({"type": "cross_entropy", "factor": 3})"),
            at + "/factor: is for type times, and the type is cross_entropy");
  EXPECT_EQ(refusal(R"({"factor": 3})"), at + "/type: missing, expected one of cross_entropy, times");
  EXPECT_EQ(refusal("3"),
            at + ": found 3, expected one of cross_entropy, times, or an object of its type and options");
  EXPECT_EQ(refusal(R"("tims")"),
            at + ": found the text \"tims\", expected one of cross_entropy, times, did you mean 'times'?");

  // From the command line, in each of its spellings.
  const std::string text = config_json(config_with(R"("times")")).dump();
  const auto set = [&](const std::string& assignment) {
    return parse_config(text, "x.json", {assignment}).stages[0].train->loss;
  };
  EXPECT_EQ(set("stages.a.train.loss.factor=4").extra.number("factor"), 4);
  EXPECT_EQ(set("stages.a.train.loss=cross_entropy").type, "cross_entropy");
  EXPECT_EQ(set(R"(stages.a.train.loss={"type": "times", "factor": 5})").extra.number("factor"), 5);
}

}  // namespace
}  // namespace espalier

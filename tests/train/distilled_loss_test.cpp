#include "espalier/train/distilled_loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "espalier/autograd/random_pass.h"
#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"
#include "support/numbers.h"

namespace espalier {
namespace {

const Floats own_logits{1, 0, -1, 2, 2, 0}, taught{0, 3, 1, -1, 2, 2};
Variable said_by_network() { return Variable(Tensor::from({2, 3}, own_logits), true); }

Batch two_noisy_images() {
  return {.images = random_tensor({2, 2, 2, 1}, 1),
          .labels = Tensor::from({2}, std::vector<int32_t>{0, 2}),
          .size = 2,
          .other_labels = {}};
}

/// A network that says `taught`, and what it was asked.
struct Says : Module {
  Variable forward(const Variable& x) override {
    seen.push_back(x.value());
    return Variable(Tensor::from({2, 3}, taught));
  }
  std::string type() const override { return "says"; }
  std::vector<Tensor> seen;
};

/// One that says `taught`, and a loss that listens to it.
struct Taught {
  explicit Taught(const DistillConfig& config, double smoothing = 0)
      : hard(make_loss({.label_smoothing = smoothing})), loss(*hard, teacher, config) {}

  std::unique_ptr<Loss> hard;
  Says* says = new Says;  // the teacher's
  Teacher teacher{std::unique_ptr<Module>(says), 2};
  DistilledLoss loss;
};

LossValue value_of(const Loss& loss, const Variable& network_says, const Batch& batch) {
  return loss.of_batch([&](const Variable&) { return network_says; }, batch);
}

Doubles softmax_of(const float* z, double temperature) {
  Doubles p(3);
  double sum = 0;
  for (size_t k = 0; k < 3; ++k) sum += p[k] = std::exp(z[k] / temperature);
  for (double& each : p) each /= sum;
  return p;
}

double of_labels(const std::vector<int32_t>& labels, double smoothing = 0) {
  double sum = 0;
  for (size_t n = 0; n < 2; ++n) {
    const Doubles q = softmax_of(&own_logits[3 * n], 1);
    for (int k = 0; k < 3; ++k)
      sum -= (smoothing / 3 + (k == labels[n] ? 1 - smoothing : 0)) * std::log(q[static_cast<size_t>(k)]);
  }
  return sum / 2;
}

/// T^2 KL(p || q), the mean of both rows.
double of_teacher(double temperature) {
  double sum = 0;
  for (size_t n = 0; n < 2; ++n) {
    const Doubles q = softmax_of(&own_logits[3 * n], temperature),
                  p = softmax_of(&taught[3 * n], temperature);
    for (size_t k = 0; k < 3; ++k) sum += p[k] * (std::log(p[k]) - std::log(q[k]));
  }
  return temperature * temperature * sum / 2;
}

TEST(DistilledLoss, IsTheLabelsAndTheTeachersPart) {
  Taught f({.temperature = 4, .weight = 0.9});
  const Batch batch = two_noisy_images();
  const LossValue value = value_of(f.loss, said_by_network(), batch);
  EXPECT_NEAR(value.loss.value().item(), 0.1 * of_labels({0, 2}) + 0.9 * of_teacher(4), 1e-6);
  EXPECT_EQ(value.rank.data<int32_t>()[0], 0);
  EXPECT_EQ(value.rank.data<int32_t>()[1], 2) << "of the label, whatever the teacher says";
  ASSERT_EQ(f.says->seen.size(), 1u);
  EXPECT_TRUE(f.says->seen[0].shares(batch.images)) << "the images that the network sees";
}

TEST(DistilledLoss, ItsGradientIsTheSumOfBoth) {
  Taught f({.temperature = 2, .weight = 0.75});
  const Variable z = said_by_network();
  value_of(f.loss, z, two_noisy_images()).loss.backward();
  for (size_t n = 0; n < 2; ++n) {
    const Doubles q = softmax_of(&own_logits[3 * n], 1), soft = softmax_of(&own_logits[3 * n], 2),
                  p = softmax_of(&taught[3 * n], 2);
    const size_t label = n == 0 ? 0 : 2;
    for (size_t k = 0; k < 3; ++k) {
      const double own = 0.25 * (q[k] - (k == label ? 1 : 0)) / 2,
                   from_teacher = 0.75 * 2 * (soft[k] - p[k]) / 2;
      EXPECT_NEAR(z.gradient().f32()[3 * n + k], own + from_teacher, 1e-6) << n << ", " << k;
    }
  }
}

TEST(DistilledLoss, SmoothingAndMixupActOnTheLabelsPart) {
  Taught f({.temperature = 3, .weight = 0.5}, 0.3);
  Batch batch = two_noisy_images();
  batch.share = 0.75f;
  batch.other_labels = Tensor::from({2}, std::vector<int32_t>{1, 0});
  EXPECT_NEAR(value_of(f.loss, said_by_network(), batch).loss.value().item(),
              0.5 * (0.75 * of_labels({0, 2}, 0.3) + 0.25 * of_labels({1, 0}, 0.3)) + 0.5 * of_teacher(3),
              1e-6);
}

TEST(DistilledLoss, WhatIsMeasuredIsTheStagesOwn) {
  Taught f({.temperature = 3, .weight = 0.5}, 0.3);
  const Batch batch = two_noisy_images();
  EXPECT_NEAR(f.loss.measure(said_by_network(), batch.labels).loss.value().item(), of_labels({0, 2}), 1e-6);
  EXPECT_NEAR(f.loss.train(said_by_network(), batch).loss.value().item(), of_labels({0, 2}, 0.3), 1e-6);
  EXPECT_TRUE(f.says->seen.empty());
}

TEST(DistilledLoss, AtWeightZeroNobodyAsksTheTeacher) {
  Taught f({.weight = 0}, 0.3);
  const Batch batch = two_noisy_images();
  const Variable z = said_by_network(), w = said_by_network();
  const LossValue without = value_of(*f.hard, z, batch), with = value_of(f.loss, w, batch);
  EXPECT_EQ(with.loss.value().item(), without.loss.value().item());
  without.loss.backward();
  with.loss.backward();
  EXPECT_TRUE(same_bits(w.gradient(), z.gradient()));
  EXPECT_TRUE(f.says->seen.empty());
}

TEST(DistilledLoss, AtWeightOneATeacherThatIsTheNetworkMovesNothing) {
  const ModelOptions mlp{.type = "mlp", .input = {2, 2, 1}, .classes = 3, .hidden = {7}};
  const auto hard = make_loss({});
  const auto student = make_model(mlp, 3);
  Teacher teacher(make_model(mlp, 3), 2);
  const DistilledLoss loss(*hard, teacher, {.temperature = 3, .weight = 1});
  const Batch batch = two_noisy_images();
  const LossValue value = loss.of_batch([&](const Variable& x) { return student->forward(x); }, batch);
  EXPECT_NEAR(value.loss.value().item(), 0, 1e-9);
  EXPECT_TRUE(value.rank.defined());
  value.loss.backward();
  for (const Parameter* parameter : student->parameters()) {
    ASSERT_TRUE(parameter->gradient().defined());
    for (const float g : parameter->gradient().span<float>()) EXPECT_EQ(g, 0.0f) << parameter->name;
  }
}

TEST(DistilledLoss, FeaturesAddTheirDistances) {
  const ModelOptions narrow{.type = "mlp", .input = {2, 2, 1}, .classes = 3, .hidden = {4}};
  ModelOptions wide = narrow;
  wide.hidden = {7};
  const auto hard = make_loss({});
  const auto student = make_model(narrow, 3);
  Teacher teacher(make_model(wide, 4), 2);
  const DistillConfig config{
      .temperature = 3, .weight = 0.5, .features = {{.student = "fc1", .weight = 2.5}, {.student = "fc2"}}};
  FeatureMaps maps(config.features, *student, teacher.network(), {2, 2, 1}, false, 7);
  const Batch batch = two_noisy_images();
  const auto forward = [&](const Variable& x) { return student->forward(x); };
  const DistilledLoss loss(*hard, teacher, config, &maps);
  const LossValue value = loss.of_batch(forward, batch);

  const Teacher::Answers taught_features = teacher.answers(batch.images, {"fc1", "fc2"});
  const Variable hidden =
      ops::linear(ops::flatten(Variable(batch.images)), student->find("fc1.weight")->variable,
                  student->find("fc1.bias")->variable, Activation::relu);
  const double distance = maps.distance(0, hidden, taught_features.features[0]).value().item(),
               of_logits =
                   maps.distance(1, forward(Variable(batch.images)), taught_features.logits).value().item();
  const DistilledLoss plain(*hard, teacher, {.temperature = 3, .weight = 0.5});
  EXPECT_NEAR(value.loss.value().item(),
              plain.of_batch(forward, batch).loss.value().item() + 2.5 * distance + of_logits, 1e-6);
  value.loss.backward();
  ASSERT_EQ(maps.parameters().size(), 1u);
  EXPECT_TRUE(maps.parameters()[0]->gradient().defined()) << "the map learns, too";
  EXPECT_FALSE(teacher.network().find("fc1.weight")->gradient().defined());

  const DistilledLoss alone(*hard, teacher, {.weight = 0, .features = {{.student = "fc1"}}}, &maps);
  EXPECT_TRUE(alone.asks());
  EXPECT_NEAR(alone.of_batch(forward, batch).loss.value().item(),
              hard->train(forward(Variable(batch.images)), batch).loss.value().item() + distance, 1e-6);
}

/// A layer after dropout.
struct DropsInputs : Module {
  Dropout& dropout = add_child<Dropout>("dropout", 0.5f);
  Linear& layer = add_child<Linear>("layer", 4, 3);
  DropsInputs() { find("layer.weight")->value().copy_from(random_tensor({3, 4}, 1)); }
  Variable forward(const Variable& x) override { return layer(dropout(ops::flatten(x))); }
  std::string type() const override { return "drops"; }
};

TEST(DistilledLoss, ATeacherChangesNoRandomNumbersOfTheNetwork) {
  DropsInputs student;
  const auto hard = make_loss({});
  Teacher teacher(std::make_unique<DropsInputs>(), 2);
  const DistilledLoss loss(*hard, teacher, {});
  const Batch batch = two_noisy_images();
  const auto said = [&](const Loss& by) {
    Variable logits;
    const RandomPass pass(7);
    by.of_batch([&](const Variable& x) { return logits = student.forward(x); }, batch);
    EXPECT_EQ(pass.drawn(), 1u);
    return logits.value();
  };
  EXPECT_TRUE(same_bits(said(loss), said(*hard)));
}

}  // namespace
}  // namespace espalier

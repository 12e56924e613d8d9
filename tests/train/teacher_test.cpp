#include "espalier/train/teacher.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "espalier/core/out_of_memory.h"
#include "espalier/nn/inference.h"
#include "espalier/nn/layer_outputs.h"
#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"
#include "espalier/optim/ema.h"
#include "espalier/optim/optimizer.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

const ModelOptions small_resnet{.type = "resnet20", .input = {8, 8, 3}, .width = 0.25};

/// With statistics that a batch has moved.
std::unique_ptr<Module> trained_small_resnet() {
  auto model = make_model(small_resnet, 5);
  model->forward(Variable(random_tensor({8, 8, 8, 3}, 1)));
  return model;
}

TEST(Teacher, SaysWhatItsNetworkDoesInInferenceForAnyNumberOfImages) {
  const auto model = trained_small_resnet();
  Teacher teacher(trained_small_resnet(), 4);
  for (const int64_t n : {4, 4, 3, 4}) {
    SCOPED_TRACE(n);
    const Tensor images = random_tensor({n, 8, 8, 3}, static_cast<uint64_t>(n));
    const Tensor found = teacher.logits(images);
    const Inference inference(*model);
    EXPECT_TRUE(same_bits(found, model->forward(Variable(images)).value()));
  }
}

TEST(Teacher, ShowsFeaturesBesideItsAnswers) {
  const auto model = trained_small_resnet();
  Teacher teacher(trained_small_resnet(), 4);
  const Tensor images = random_tensor({4, 8, 8, 3}, 3);
  const Teacher::Answers found = teacher.answers(images, {"layer1", "layer2.0"});
  EXPECT_TRUE(same_bits(found.logits, teacher.logits(images)));
  const Inference inference(*model);
  LayerOutputs seen({"layer1", "layer2.0"});
  model->forward(Variable(images));
  ASSERT_EQ(found.features.size(), 2u);
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(same_bits(found.features[i], seen[i].value()));
}

TEST(Teacher, RecordsNothingAndLeavesGradientsToOthers) {
  Teacher teacher(trained_small_resnet(), 4);
  const uint64_t before = ops_recorded();
  teacher.logits(random_tensor({4, 8, 8, 3}, 1));
  EXPECT_EQ(ops_recorded() - before, 2u) << "the pooling and the last layer: norms are folded";
  EXPECT_TRUE(gradients_enabled());
  for (const Parameter* parameter : teacher.network().parameters()) {
    EXPECT_FALSE(parameter->variable.requires_gradient());
    EXPECT_FALSE(parameter->gradient().defined());
  }
}

TEST(Teacher, KeepsOnlyWeightsAndTheAverageInTheirPlace) {
  auto model = make_model({.type = "mlp", .input = {2, 2, 1}, .classes = 3, .hidden = {4}}, 1);
  make_optimizer({.type = "adam"}, model->parameters());
  start_average(model->parameters());
  Parameter& weight = *model->find("fc1.weight");
  weight.state["average"].fill(0.5f);
  weight.mask = Tensor::zeros(weight.shape(), DType::u8);
  weight.gradient() = Tensor::zeros(weight.shape());
  Teacher teacher(std::move(model), 2);
  for (const Parameter* parameter : teacher.network().parameters())
    EXPECT_EQ(parameter->tensors().size(), 1u) << parameter->name;
  EXPECT_EQ(teacher.network().find("fc1.weight")->value().f32()[3], 0.5f);
}

TEST(Teacher, CountsTheTimeOfItsAnswersAlone) {
  struct Slow : Module {
    Variable forward(const Variable& x) override {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      return ops::flatten(x);
    }
    std::string type() const override { return "slow"; }
  };
  Teacher teacher(std::make_unique<Slow>(), 2);
  EXPECT_GE(teacher.image_seconds({1, 1, 3}), 0.001);
  EXPECT_EQ(teacher.seconds(), 0);
  for (int i = 0; i < 3; ++i) teacher.logits(Tensor::zeros({2, 1, 1, 3}));
  EXPECT_GE(teacher.seconds(), 0.006);
}

TEST(Teacher, WhereMemoryRunsOutItIsNamed) {
  struct Large : Module {
    Variable forward(const Variable&) override {
      throw OutOfMemory("out of memory: 9 MiB asked for", "7 MiB are free");
    }
    std::string type() const override { return "large"; }
  };
  Teacher teacher(std::make_unique<Large>(), 2);
  EXPECT_EQ(message_of<OutOfMemory>([&] {
              teacher.logits(Tensor::zeros({2, 1, 1, 3}));
            }),
            "out of memory: 9 MiB asked for by the teacher; 7 MiB are free");
}

}  // namespace
}  // namespace espalier

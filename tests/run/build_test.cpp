#include "espalier/run/build.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "espalier/formats/safetensors.h"
#include "espalier/nn/state_dict.h"
#include "espalier/util/mistakes.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/places.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

const char* const stage =
    R"({"name": "a", "train": {"epochs": 1, "optimizer": {"type": "adam", "lr": 0.1}}})";

TEST(DataRoot, IsTheFirstThatIsSet) {
  DataConfig config;
  ::unsetenv("ESPALIER_DATA");
  EXPECT_EQ(data_root(config, {}), "data");
  ::setenv("ESPALIER_DATA", "from_environment", 1);
  EXPECT_EQ(data_root(config, {}), "from_environment");
  config.root = "from_config";
  EXPECT_EQ(data_root(config, {}), "from_config");
  EXPECT_EQ(data_root(config, "given"), "given");
  ::unsetenv("ESPALIER_DATA");
}

TEST(BuildData, SyntheticImagesAreTheModels) {
  Config config = small_config(stage);
  config.model.classes = 5;
  config.model.input = {32, 16, 3};
  config.data.train_images = 40;
  config.data.test_images = 20;
  const DataSplits data = build_data(config, {});
  EXPECT_EQ(data.train.images.shape(), Shape({40, 32, 16, 3}));
  EXPECT_EQ(data.test.size(), 20);
  EXPECT_EQ(data.train.classes(), 5);
  config.model.classes = 1;
  EXPECT_EQ(message_of([&] { build_data(config, {}); }),
            "small.json: synthetic: classes: found 1, expected 2 to 10000");
}

/// The part of CIFAR-100 beside the project, `others` in its data.
Config six_classes(const nlohmann::json& others, int64_t classes) {
  nlohmann::json data = {{"type", "cifar100"}, {"path", "cifar100-6class"}};
  data.update(others);
  Config config = small_config(stage);
  config.data = parse_config(nlohmann::json{{"model", {{"type", "mlp"}}},
                                            {"data", data},
                                            {"stages", {nlohmann::json::parse(stage)}}}
                                 .dump(),
                             "six.json")
                    .data;
  config.model.input = {32, 32, 3};
  config.model.classes = classes;
  return config;
}

TEST(BuildData, SixClassesOfCifar100) {
  const std::string root = source_folder() + "/../shared/data";
  if (!std::filesystem::exists(root + "/cifar100-6class"))
    GTEST_SKIP() << "no ../shared/data/cifar100-6class beside the project";
  EXPECT_EQ(build_data(six_classes({{"remap", true}}, 6), root).train.class_names[5], "sunflower");
  EXPECT_EQ(build_data(six_classes(nlohmann::json::object(), 100), root).test.classes(), 100);
  const DataSplits coarse = build_data(six_classes({{"labels", "coarse"}, {"remap", true}}, 6), root);
  EXPECT_EQ(coarse.train.class_names[4], "people");
  EXPECT_EQ(coarse.notes.size(), 2u);
  EXPECT_EQ(message_of([&] { build_data(six_classes(nlohmann::json::object(), 6), root); }),
            root +
                "/cifar100-6class: cifar100 train has 100 classes, expected the model's 6 (small.json: "
                "/model/classes)");
  Config small = six_classes({{"remap", true}}, 6);
  small.model.input = {28, 28, 3};
  EXPECT_EQ(
      message_of([&] { build_data(small, root); }),
      "small.json: /model/input: found [28, 28, 3], but images of cifar100 train have shape [32, 32, 3]");
}

TEST(TakeClasses, CountsThoseInFiles) {
  const std::string root = source_folder() + "/../shared/data";
  if (!std::filesystem::exists(root + "/cifar100-6class"))
    GTEST_SKIP() << "no ../shared/data/cifar100-6class beside the project";
  Config config = six_classes({{"remap", true}}, 0);
  take_classes(config, root);
  EXPECT_EQ(config.model.classes, 6);
  config.model.classes = 7;
  take_classes(config, "none");
  EXPECT_EQ(config.model.classes, 7) << "it says them itself";
}

TEST(CheckClasses, NamesTheFirstThatDiffers) {
  Config config = small_config(stage);
  Dataset data{"pets", {}, {}, {"cat", "dog"}};
  const auto message = [&](const std::vector<std::string>& saved) {
    return message_of([&] { check_classes("c", saved, config, data, "data/pets"); });
  };
  config.data.type = "image_folder";
  EXPECT_NO_THROW(check_classes("c", {"cat", "dog"}, config, data, "data/pets"));
  EXPECT_NO_THROW(check_classes("c", {}, config, data, "data/pets"));
  EXPECT_EQ(message({"cat", "wolf"}),
            "data/pets: class 1 is 'dog', expected 'wolf', with which c was trained");
  EXPECT_EQ(message({"cat"}), "data/pets: class 1 is 'dog', expected none, with which c was trained");
  config.data.type = "mnist";
  EXPECT_NO_THROW(check_classes("c", {"zero", "one"}, config, data, "data/mnist"));
  EXPECT_TRUE(kept_class_names(config, data).empty());
}

TEST(BuildData, HoldsOutTheShareThatIsAsked) {
  Config config = small_config(stage);
  config.data.validation = 0.25;
  const DataSplits data = build_data(config, {});
  EXPECT_EQ(data.validation.size(), 2000);
  EXPECT_EQ(data.train.size(), 6000);
}

TEST(BuildModel, StartsFromTheWeightsThatTheConfigNames) {
  const TemporaryFolder folder;
  Config config = small_config(stage);
  config.seed = 1;
  const auto other = build_model(config);
  write_safetensors(folder / "w.safetensors", {.tensors = state_dict(*other), .metadata = {}});
  config.seed = 2;
  config.model.weights = (folder / "w.safetensors").string();
  EXPECT_EQ(build_model(config)->find("fc1.weight")->value().f32()[5],
            other->find("fc1.weight")->value().f32()[5]);
  config.model.weights.reset();
  EXPECT_NE(build_model(config)->find("fc1.weight")->value().f32()[5],
            other->find("fc1.weight")->value().f32()[5]);
}

/// What check_stages says of a stage that trains a small VGG so, if anything.
std::string learning(const std::string& train, const std::string& optimizer = "") {
  const Config config =
      parse_config(R"({"model": {"type": "vgg11", "width": 0.05}, "data": {"type": "synthetic"}, "stages": [
          {"name": "a", "train": {"steps": 1, )" +
                       train + R"("optimizer": {"type": "sgd", "lr": 0.1)" + optimizer + "}}}]}",
                   "small.json");
  const auto model = build_model(config);
  try {
    Mistakes mistakes;
    check_stages(config, *model, 10, true, mistakes);
    mistakes.report(config.file);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(CheckStages, WhatIsFrozenAndWhatHasARateMustBeThere) {
  const std::string at = "small.json: /stages/0 (a): ";
  EXPECT_EQ(learning(R"("freeze": ["features", "clasifier"], )"),
            at + "train: freeze 'clasifier' names no layer, known: classifier, features, did you mean "
                 "'classifier'?");
  EXPECT_EQ(learning(R"("freeze": ["*"], )"), at + "train: freeze leaves no layer that learns");
  EXPECT_EQ(
      learning("", R"(, "lr_of": {"features.0": 1, "features.99": 1})"),
      at + "optimizer: lr_of 'features.99' names no layer or kind of parameter, known: bias, classifier, "
           "embedding, features, norm, did you mean 'features'?");
  EXPECT_EQ(learning("", R"(, "decay": {"norms": 0})"),
            at + "optimizer: decay 'norms' names no layer or kind of parameter, known: bias, classifier, "
                 "embedding, features, norm, did you mean 'norm'?");
  EXPECT_EQ(learning(R"("freeze": ["features"], )", R"(, "decay": {"features.0": 0.1})"),
            at + "optimizer: decay 'features.0' is frozen, and has no decay");
  EXPECT_EQ(learning(R"("freeze": ["features"], )",
                     R"(, "lr_of": {"norm": 1, "c*": 2}, "decay": {"embedding": 0, "bias": 0})"),
            "")
      << "a kind of which nothing learns is no mistake";
  EXPECT_EQ(learning(R"("freeze": ["features"], )", R"(, "lr_of": {"features.0": 1})"),
            at + "optimizer: lr_of 'features.0' is frozen, and has no rate");
  EXPECT_EQ(learning(R"("freeze": ["features"], "reestimate_norm": 3, )"),
            at + "reestimate_norm: found 3, but the model has no batch norm that is not frozen");
  EXPECT_EQ(
      learning(R"("freeze": ["features"], "prune": {"unit": "channel", "ratio": 0.1, "reestimate_norm": 2,
                         "schedule": {"type": "one_shot"}}, )"),
      at + "prune: reestimate_norm: found 2, but the model has no batch norm that is not frozen");
  EXPECT_EQ(learning(R"("freeze": ["features.?"], "reestimate_norm": 3, )",
                     R"(, "lr_of": {"features": 1, "c*": 2})"),
            "");
}

TEST(BuildOptimizer, GivesLayersTheirRates) {
  Config config = small_config(R"({"name": "a", "train": {"steps": 1, "optimizer":
      {"type": "sgd", "lr": 0.5, "lr_of": {"*": 0.25, "fc2": 0.125}}}})");
  const auto model = build_model(config);
  const auto optimizer = build_optimizer(config.stages[0].train->optimizer, *model);
  for (Parameter* parameter : model->parameters()) {
    parameter->value().fill(1);
    parameter->gradient() = Tensor::full(parameter->shape(), 1);
  }
  optimizer->step(1.0);  // twice the rate of the config, and so twice that of each layer
  EXPECT_EQ(model->find("fc1.bias")->value().f32()[0], 0.5f);
  EXPECT_EQ(model->find("fc2.weight")->value().f32()[0], 0.75f);
}

TEST(BuildOptimizer, GivesKindsAndLayersTheirDecays) {
  const Config config =
      parse_config(R"({"model": {"type": "vgg11", "width": 0.05}, "data": {"type": "synthetic"}, "stages": [
          {"name": "a", "train": {"steps": 1, "optimizer": {"type": "sgd", "lr": 0.5, "weight_decay": 0.5,
           "lr_of": {"norm": 0.25}, "decay": {"bias": 0, "norm": 0.125, "*.8": 0.25, "features.9": 0}}}}]})",
                   "small.json");
  const auto model = build_model(config);
  const auto optimizer = build_optimizer(config.stages[0].train->optimizer, *model);
  for (Parameter* parameter : optimizer->parameters()) {
    parameter->value().fill(1);
    parameter->gradient() = Tensor::zeros(parameter->shape());
  }
  optimizer->step(0.5);
  const auto left = [&](const char* name) { return model->find(name)->value().f32()[0]; };
  EXPECT_EQ(left("features.0.weight"), 1 - 0.5f * 0.5f);
  EXPECT_EQ(left("features.0.bias"), 1.0f);
  EXPECT_EQ(left("features.1.weight"), 1 - 0.25f * 0.125f) << "a norm's scale, at its kind's rate";
  EXPECT_EQ(left("features.1.bias"), 1 - 0.25f * 0.125f) << "a norm's shift is of kind norm";
  EXPECT_EQ(left("features.8.weight"), 1 - 0.5f * 0.25f) << "a pattern";
  EXPECT_EQ(left("features.8.bias"), 1 - 0.5f * 0.25f) << "the last entry that means it counts";
  EXPECT_EQ(left("features.9.weight"), 1.0f) << "a layer's decay, and its kind's rate";
  EXPECT_EQ(left("classifier.bias"), 1.0f);
}

}  // namespace
}  // namespace espalier

#include "espalier/run/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "espalier/channels/surgery.h"
#include "espalier/formats/safetensors.h"
#include "espalier/nn/layers.h"
#include "espalier/nn/state_dict.h"
#include "espalier/optim/optimizer.h"
#include "espalier/run/build.h"
#include "espalier/run/memory.h"
#include "espalier/train/callbacks.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/numbers.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

const char* const one_stage =
    R"({"name": "a", "train": {"steps": 1, "optimizer": {"type": "adam", "lr": 0.1}}})";

/// lenet5 has all three file layouts; masks and state that are not all the same.
std::unique_ptr<Module> full_model(const Config& config) {
  auto model = make_model(config.model, 7);
  uint64_t key = 0;
  for (Parameter* parameter : model->parameters()) {
    if (parameter->role == Role::weight)
      parameter->set_mask(
          Tensor::from(parameter->shape(), random_mask(parameter->value().elements(), ++key)));
    for (const char* name : {"slot0", "slot1"})
      parameter->state[name] = random_tensor(parameter->shape(), ++key);
    parameter->state["average"] = random_tensor(parameter->shape(), ++key);
  }
  return model;
}

Config lenet_config() {
  Config config = small_config(one_stage);
  config.model.type = "lenet5";
  return config;
}

const std::vector<std::string> ten_names{"cat", "dog", "cow", "pig", "hen",
                                         "ant", "bee", "owl", "fox", "elk"};

/// A bias of 0 is no sign of a mask: fresh norms' shifts are all so.
TEST(Checkpoint, OfWeightsAloneMasksOfBiasesGoWithTheLayersWeights) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "weights.safetensors";
  const Config config = lenet_config();
  const auto model = make_model(config.model, 7), again = make_model(config.model, 8);
  Parameter &weight = *model->find("conv1.weight"), &bias = *model->find("conv1.bias");
  const int64_t channels = bias.value().elements(), row = weight.shape().row_elements();
  std::vector<uint8_t> kept(static_cast<size_t>(channels), 1), rows(static_cast<size_t>(channels * row), 1);
  kept[2] = 0;
  std::fill_n(rows.begin() + 2 * row, row, uint8_t{0});
  bias.value().fill(0);
  bias.set_mask(Tensor::from({channels}, kept));
  weight.set_mask(Tensor::from(weight.shape(), rows));
  save_weights(file, *model, config, {});
  load_weights(file, *again);
  const auto mask = again->find("conv1.bias")->mask.span<uint8_t>();
  EXPECT_EQ((std::vector<uint8_t>{mask.begin(), mask.end()}), kept);
}

TEST(Checkpoint, KeepsWhatCallbacksRemember) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "checkpoint.safetensors";
  const Config config = lenet_config();
  const auto model = make_model(config.model, 7);
  RunPosition position{
      {.steps_before = 96, .callbacks = {{"regularize", {{"chosen", {{"conv1", {1, 19}}}}}}, {"own", 7}}}};
  position.first.emplace();
  save_checkpoint(file, *model, config, position, {});
  const RunPosition read = read_checkpoint_info(file).position.value();
  EXPECT_EQ(read.steps_before, 96);
  EXPECT_EQ(read.callbacks, position.callbacks);
  EXPECT_EQ(read.first, position.first);
}

TEST(Checkpoint, BringsBackEverythingBitForBit) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "checkpoint.safetensors";
  const Config config = lenet_config();
  const auto saved = full_model(config);
  RunPosition position{{.stage = 1,
                        .epoch = 2,
                        .batch = 3,
                        .step = 4,
                        .optimizer_steps = 5,
                        .train_seconds = 1.0 / 3.0,
                        .trained_images = 6,
                        .loss_sum = 1e-17,
                        .images = 7,
                        .correct = 8}};
  position.run_seconds = 12.5;
  position.seconds = 0.1;
  position.metrics_bytes = 11;
  position.results = {StageResult{.name = "a", .kind = "train", .best = {}}};
  const Judgement judgement{.best_accuracy = 97.123456789, .best_epoch = 9, .stale = 10};
  judgement.put_into(position);
  save_checkpoint(file, *saved, config, position, {});

  const auto loaded = make_model(config.model, 8);
  load_checkpoint(file, *loaded);
  for (size_t i = 0; i < saved->parameters().size(); ++i) {
    const Parameter &a = *saved->parameters()[i], &b = *loaded->parameters()[i];
    EXPECT_TRUE(same_bits(a.value(), b.value())) << a.name;
    EXPECT_TRUE(same_bits(a.state_of("average"), b.state_of("average"))) << a.name;
    ASSERT_EQ(b.state.size(), 3u);
    EXPECT_TRUE(same_bits(a.state_of("slot0"), b.state_of("slot0")) &&
                same_bits(a.state_of("slot1"), b.state_of("slot1")))
        << a.name;
    ASSERT_EQ(a.mask.defined(), b.mask.defined());
    if (a.mask.defined()) {
      EXPECT_TRUE(same_bits(a.mask.span<uint8_t>(), b.mask.span<uint8_t>())) << a.name;
    }
  }
  const CheckpointInfo info = read_checkpoint_info(file);
  EXPECT_EQ(config_json(info.config), config_json(config));
  ASSERT_TRUE(info.position);
  EXPECT_EQ(info.position->train_seconds, position.train_seconds);
  EXPECT_EQ(info.position->run_seconds, 12.5);
  EXPECT_EQ(info.position->loss_sum, position.loss_sum);
  EXPECT_EQ(Judgement::in(*info.position).best_accuracy, judgement.best_accuracy);
  EXPECT_EQ(Judgement::in(*info.position).best_epoch, 9);
  EXPECT_EQ(Judgement::in(*info.position).stale, 10);
  EXPECT_EQ(info.position->metrics_bytes, 11);
  EXPECT_EQ(info.position->results.size(), 1u);
  EXPECT_EQ(info.position->step * 100 + info.position->batch, 403);
}

/// What a method adds is masked, counted, saved, loaded and cut without anybody being told of it.
TEST(Checkpoint, AMethodsOwnTensorGoesWithItsParameter) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "checkpoint.safetensors";
  const Config config = lenet_config();
  const auto saved = make_model(config.model, 7);
  Parameter& fc1 = *saved->find("fc1.weight");
  const auto memory = [&](Module& model) {
    MemoryPlan plan;
    plan.include(*config.stages[0].train, model.parameters(), 0);
    return plan.parameters;
  };
  const double before = memory(*saved);
  fc1.state["score"] = random_tensor(fc1.shape(), 9, 1, 2);
  EXPECT_EQ(memory(*saved), before + 4.0 * 500 * 800);
  std::vector<uint8_t> kept(500 * 800, 1);
  kept[3] = 0;
  fc1.set_mask(Tensor::from(fc1.shape(), kept));
  EXPECT_EQ(fc1.state_of("score").f32()[3], 0.0f);
  EXPECT_GE(fc1.state_of("score").f32()[4], 1.0f);

  save_checkpoint(file, *saved, config, {}, {});
  EXPECT_EQ(read_safetensors(file).find("score/fc1.weight")->shape(), (Shape{500, 800}));
  const auto loaded = make_model(config.model, 8), weights = make_model(config.model, 8);
  load_checkpoint(file, *loaded);
  EXPECT_TRUE(same_bits(loaded->find("fc1.weight")->state_of("score"), fc1.state_of("score")));
  load_weights(file, *weights);
  EXPECT_FALSE(weights->find("fc1.weight")->state_of("score").defined()) << "only weights and masks";

  const std::vector<AxisCut> cuts{
      {"fc1.weight", 0, 500, {7, 9}}, {"fc1.bias", 0, 500, {7, 9}}, {"fc2.weight", 1, 500, {7, 9}}};
  {
    Transaction taken_back(*loaded);
    cut(*loaded, cuts);
    const Tensor& score = loaded->find("fc1.weight")->state_of("score");
    ASSERT_EQ(score.shape(), (Shape{2, 800}));
    for (int i = 0; i < 800; ++i) ASSERT_EQ(score.f32()[i], fc1.state_of("score").f32()[7 * 800 + i]);
  }
  EXPECT_TRUE(same_bits(loaded->find("fc1.weight")->state_of("score"), fc1.state_of("score")));

  TensorFile content = read_safetensors(file);
  content.tensors.emplace_back("score/fc9.weight", Tensor::zeros({1}));
  write_safetensors(file, content);
  for (const auto& load : std::vector<std::function<void()>>{[&] { load_checkpoint(file, *loaded); },
                                                             [&] { load_weights(file, *loaded); }})
    EXPECT_TRUE(contains(message_of(load), "'score/fc9.weight' is not the model's"));
  content.tensors.back() = {"slot0/fc9.weight", Tensor::zeros({1})};
  write_safetensors(file, content);
  EXPECT_TRUE(contains(message_of([&] { load_checkpoint(file, *loaded); }),
                       "'slot0/fc9.weight' is of no parameter of the model's"));
}

TEST(Checkpoint, WeightsAloneHoldNothingThatLoadStateDictWouldRefuse) {
  const TemporaryFolder folder;
  const Config config = lenet_config();
  const auto model = full_model(config);
  save_weights(folder.path() / "w.safetensors", *model, config, {});
  const TensorFile file = read_safetensors(folder.path() / "w.safetensors");
  EXPECT_EQ(file.tensors.size(), model->parameters().size());
  EXPECT_EQ(file.find("conv2.weight")->shape(), (Shape{50, 20, 5, 5}));
  EXPECT_FALSE(read_checkpoint_info(folder.path() / "w.safetensors").position);
  const auto opened = open_checkpoint(folder.path() / "w.safetensors").model;
  EXPECT_TRUE(same_bits(opened->find("fc1.weight")->value(), model->find("fc1.weight")->value()));
}

TEST(Checkpoint, WeightsAloneSayWhichZerosAreHeld) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "w.safetensors";
  const Config config = lenet_config();
  const auto saved = full_model(config);
  Parameter& free = *saved->find("fc2.weight");
  free.remove_mask();  // its zeros stay
  save_weights(file, *saved, config, {});
  const auto same_masks = [&](Module& loaded) {
    for (const Parameter* parameter : saved->parameters()) {
      const Tensor& found = loaded.find(parameter->name)->mask;
      ASSERT_EQ(found.defined(), parameter->mask.defined()) << parameter->name;
      if (found.defined()) {
        EXPECT_TRUE(same_bits(found.span<uint8_t>(), parameter->mask.span<uint8_t>())) << parameter->name;
      }
    }
  };
  same_masks(*open_checkpoint(file).model);
  const auto model = make_model(config.model, 8);
  WeightsNotes notes = load_weights(file, *model);
  same_masks(*model);
  ASSERT_EQ(notes.lines.size(), 1u);
  EXPECT_TRUE(contains(notes.lines[0], "w.safetensors: its masks are kept: "));
  ASSERT_EQ(notes.warnings.size(), 1u);
  EXPECT_TRUE(contains(notes.warnings[0], "of its weights are exactly 0 without a mask, and training may"));

  const auto holding = make_model(config.model, 8);
  load_weights(file, *holding, {.hold_zeros = true});
  EXPECT_TRUE(holding->find("fc2.weight")->mask.defined());
  const auto letting_go = make_model(config.model, 8);
  notes = load_weights(file, *letting_go, {.hold_zeros = false});
  for (const Parameter* parameter : letting_go->parameters()) EXPECT_FALSE(parameter->mask.defined());
  EXPECT_TRUE(notes.lines.empty() && notes.warnings.empty());

  TensorFile content = read_safetensors(file);
  content.tensors.emplace_back("mask/fc9.weight", Tensor::zeros({1}, DType::u8));
  write_safetensors(file, content);
  EXPECT_TRUE(contains(message_of([&] { load_weights(file, *model); }),
                       "w.safetensors: 'mask/fc9.weight' is a mask of nothing that the model learns"));
  content.tensors.pop_back();
  content.metadata["espalier.masked"] = R"(["fc1.weight", "fc9.weight"])";
  write_safetensors(file, content);
  EXPECT_TRUE(contains(message_of([&] { load_weights(file, *model); }),
                       "w.safetensors: 'fc9.weight' is masked, and is not the model's"));
  content.metadata["espalier.masked"] = "{";
  write_safetensors(file, content);
  EXPECT_TRUE(contains(message_of([&] { load_weights(file, *model); }),
                       "which of its parameters are masked cannot be read"));
}

TEST(Checkpoint, IsOpenedWithWhatItSaysOfItself) {
  const TemporaryFolder folder;
  const Config config = lenet_config();
  const auto file = folder.path() / "c.safetensors";
  save_checkpoint(file, *make_model(config.model, 7), config, {{.step = 3}}, ten_names);
  const CheckpointInfo info = open_checkpoint(file, {"data.batch=5"}).info;
  EXPECT_EQ(info.config.model.type, "lenet5");
  EXPECT_EQ(info.config.data.batch, 5);
  EXPECT_EQ(info.position->step, 3);
  EXPECT_EQ(info.classes, ten_names);
}

TEST(Checkpoint, HasItsOwnNumberOfClasses) {
  const TemporaryFolder folder;
  const Config config = lenet_config();
  const auto file = folder.path() / "c.safetensors";
  save_checkpoint(file, *make_model(config.model, 7), config, {}, {});
  const std::vector<std::string> other_data{"data.type=image_folder", "data.path=pets", "model.classes=null"};
  EXPECT_EQ(open_checkpoint(file, other_data).info.config.model.classes, config.model.classes);
  TensorFile content = read_safetensors(file);
  nlohmann::json json = nlohmann::json::parse(content.metadata.at("espalier.config"));
  json["model"].erase("classes");
  json["data"] = {{"type", "image_folder"}, {"path", "pets"}};
  content.metadata["espalier.config"] = json.dump();
  write_safetensors(file, content);
  EXPECT_EQ(message_of([&] { read_checkpoint_info(file); }),
            file.string() + ": its config does not say how many classes the model has");
}

TEST(Checkpoint, ADamagedOrForeignOneIsRefusedAndTheModelStaysAsItWas) {
  const TemporaryFolder folder;
  const Config config = lenet_config();
  const auto saved = full_model(config);
  const auto file = folder.path() / "c.safetensors";
  save_checkpoint(file, *saved, config, {}, {});
  TensorFile content = read_safetensors(file);

  const auto model = make_model(config.model, 8);
  const Tensor before = model->find("conv1.weight")->value().clone();
  for (auto& [name, tensor] : content.tensors)
    if (name == "mask/fc2.weight") tensor = Tensor::zeros({3}, DType::u8);
  write_safetensors(file, content);
  EXPECT_TRUE(contains(message_of([&] { load_checkpoint(file, *model); }),
                       "'mask/fc2.weight' is u8[3], expected u8[10, 500]"));
  EXPECT_TRUE(same_bits(before, model->find("conv1.weight")->value()));

  content.metadata.clear();
  write_safetensors(file, content);
  EXPECT_TRUE(
      contains(message_of([&] { read_checkpoint_info(file); }), "has no 'espalier.config' in its metadata"));
}

TEST(Checkpoint, APositionThatIsNoneIsRefused) {
  const TemporaryFolder folder;
  const Config config = lenet_config();
  const auto model = make_model(config.model, 7);
  const auto file = folder.path() / "c.safetensors";
  save_checkpoint(file, *model, config, {}, {});
  TensorFile content = read_safetensors(file);
  content.metadata["espalier.position"] = R"({"stage": "one"})";
  write_safetensors(file, content);
  EXPECT_TRUE(contains(message_of([&] { read_checkpoint_info(file); }), "its position cannot be read"));
}

TEST(Checkpoint, AnOldersRunIsAsOldAsItsStages) {
  const TemporaryFolder folder;
  const Config config = small_config(one_stage);
  const auto file = folder.path() / "c.safetensors";
  RunPosition position;
  position.seconds = 2;
  position.results = {StageResult{.name = "a", .kind = "train", .seconds = 5, .best = {}}};
  save_checkpoint(file, *make_model(config.model, 7), config, position, {});
  TensorFile content = read_safetensors(file);
  auto json = nlohmann::ordered_json::parse(content.metadata["espalier.position"]);
  json.erase("run_seconds");
  content.metadata["espalier.position"] = json.dump();
  write_safetensors(file, content);
  EXPECT_EQ(read_checkpoint_info(file).position->run_seconds, 7);
}

TEST(Checkpoint, OfAnOlderVersionHasWhatCallbacksRemember) {
  const TemporaryFolder folder;
  const Config config = small_config(one_stage);
  const auto file = folder.path() / "c.safetensors";
  save_checkpoint(file, *make_model(config.model, 7), config, {}, {});
  TensorFile content = read_safetensors(file);
  auto json = nlohmann::ordered_json::parse(content.metadata["espalier.position"]);
  json.update({{"best_accuracy", 93.5}, {"best_epoch", 4}, {"accuracy_to_beat", 94}, {"stale", 2}});
  json["chosen"] = {{"fc1", {3}}};
  content.metadata["espalier.position"] = json.dump();
  write_safetensors(file, content);
  const RunPosition position = read_checkpoint_info(file).position.value();
  const Judgement judgement = Judgement::in(position);
  EXPECT_EQ(judgement.best_accuracy, 93.5);
  EXPECT_EQ(judgement.best_epoch, 4);
  EXPECT_EQ(judgement.accuracy_to_beat, 94);
  EXPECT_EQ(judgement.stale, 2);
  EXPECT_EQ(position.callbacks.at("regularize").dump(), R"({"chosen":{"fc1":[3]}})");
}

TEST(Checkpoint, APositionsCountsAreWholeNumbersThatCannotOverflow) {
  const TemporaryFolder folder;
  const Config config = small_config(one_stage);
  const auto model = make_model(config.model, 7);
  const auto file = folder.path() / "c.safetensors";
  save_checkpoint(file, *model, config, {}, {});
  TensorFile content = read_safetensors(file);
  const auto good = nlohmann::ordered_json::parse(content.metadata["espalier.position"]);
  for (const char* name : {"epoch", "optimizer_steps", "metrics_bytes"})
    for (const nlohmann::ordered_json& bad :
         std::vector<nlohmann::ordered_json>{1.5, -1, INT64_MIN, INT64_MAX, UINT64_MAX, int64_t{1} << 53}) {
      auto position = good;
      position[name] = bad;
      content.metadata["espalier.position"] = position.dump();
      write_safetensors(file, content);
      const std::string message = message_of([&] { read_checkpoint_info(file); });
      EXPECT_TRUE(contains(message, "its position cannot be read")) << bad << " " << message;
      EXPECT_TRUE(contains(message, name)) << bad << " " << message;
    }
}

TEST(Checkpoint, KeepsTheNamesOfClassesWhereThereAreSome) {
  const TemporaryFolder folder;
  const Config config = lenet_config();
  const auto model = full_model(config);
  std::vector<std::string> names = ten_names;
  names[1] = "d\xC3\xB6g \"x\"";
  const auto file = folder.path() / "c.safetensors";
  save_checkpoint(file, *model, config, {}, names);
  EXPECT_EQ(read_checkpoint_info(file).classes, names);
  save_weights(file, *model, config, names);
  EXPECT_EQ(read_checkpoint_info(file).classes, names);
  std::vector<std::string> bad = names;
  bad[9] = "caf\xE9";
  EXPECT_TRUE(contains(message_of([&] { save_weights(file, *model, config, bad); }),
                       "cannot write: the name of a class is not UTF-8"));
  EXPECT_EQ(message_of([&] {
              save_weights(file, *model, config, {"cat", "dog"});
            }),
            file.string() + ": cannot write: 2 names of classes for 10 outputs");
  EXPECT_EQ(read_checkpoint_info(file).classes, names);
  save_weights(file, *model, config, {});
  EXPECT_TRUE(read_checkpoint_info(file).classes.empty());
  TensorFile content = read_safetensors(file);
  EXPECT_FALSE(content.metadata.contains("espalier.classes"));
  content.metadata["espalier.classes"] = "[1]";
  write_safetensors(file, content);
  EXPECT_TRUE(contains(message_of([&] { read_checkpoint_info(file); }), "its classes cannot be read: "));
  content.metadata["espalier.classes"] = R"(["cat", "dog", "cow"])";
  write_safetensors(file, content);
  for (const bool opens : {false, true})
    EXPECT_EQ(message_of([&] { opens ? void(open_checkpoint(file)) : void(read_checkpoint_info(file)); }),
              file.string() + ": its classes cannot be read: 3 names of classes for 10 outputs");
}

/// A network of 3 classes that starts from `file`, one of 10, but for `skip`.
std::unique_ptr<Module> three_classes(const std::filesystem::path& file, const std::vector<std::string>& skip,
                                      WeightsNotes* notes = nullptr, const char* init = "pytorch") {
  Config config = lenet_config();
  config.seed = 5;
  config.model.classes = 3;
  config.model.init = init;
  config.model.weights = file.string();
  config.model.skip = skip;
  return build_model(config, true, notes);
}

TEST(LoadWeights, LayersThatAreSkippedStartAfresh) {
  const TemporaryFolder folder;
  Config config = lenet_config();
  const auto saved = full_model(config);
  const auto file = folder.path() / "w.safetensors";
  save_weights(file, *saved, config, {});
  EXPECT_EQ(message_of([&] { three_classes(file, {}); }),
            file.string() +
                ": 'fc2.weight' has shape [10, 500], the model's is [3, 500]; \"skip\": [\"fc2\"] "
                "in the config's model starts that layer afresh");
  WeightsNotes notes;
  const auto model = three_classes(file, {"fc2"}, &notes, "kaiming_uniform");
  ASSERT_GE(notes.lines.size(), 1u);
  EXPECT_EQ(notes.lines[0], file.string() + ": not read, but started afresh: fc2");
  config.seed = 5;
  config.model.classes = 3;
  config.model.init = "kaiming_uniform";
  const auto fresh = build_model(config);
  for (const Parameter* parameter : model->parameters()) {
    const bool skipped = parameter->name.starts_with("fc2");
    const Parameter* same = (skipped ? *fresh : *saved).find(parameter->name);
    EXPECT_TRUE(same_bits(parameter->value().span<float>(), same->value().span<float>())) << parameter->name;
    EXPECT_EQ(parameter->mask.defined(), !skipped && same->mask.defined()) << parameter->name;
  }
  EXPECT_TRUE(
      contains(message_of([&] {
                 three_classes(file, {"fc2", "fc3"});
               }),
               "/model/skip: 'fc3' names no layer, known: conv1, conv2, fc1, fc2, did you mean 'fc1'?"));
}

TEST(LoadWeights, ASkippedLayerMayBeTheFilesAlone) {
  const TemporaryFolder folder;
  const Config config = lenet_config();
  const auto file = folder.path() / "w.safetensors";
  TensorFile content{.tensors = state_dict(*build_model(config)), .metadata = {}};
  std::erase_if(content.tensors, [](const auto& named) { return named.first.starts_with("fc2"); });
  write_safetensors(file, content);
  EXPECT_TRUE(
      contains(message_of([&] { three_classes(file, {}); }),
               ": no tensor 'fc2.weight', which the model needs; \"skip\": [\"fc2\"] in the config's"));
  content.tensors.emplace_back("head.last.weight", Tensor::zeros({1}));
  write_safetensors(file, content);
  EXPECT_TRUE(
      contains(message_of([&] { three_classes(file, {"fc2"}); }), "'head.last.weight' is not the model's"));
  EXPECT_EQ(three_classes(file, {"fc2", "head"})->find("fc2.weight")->shape(), (Shape{3, 500}));
}

TEST(LoadWeights, ASkippedLayerOfACutNetworkStartsAtItsNewWidth) {
  const TemporaryFolder folder;
  Config config = lenet_config();
  config.seed = 7;
  const auto saved = build_model(config);
  std::vector<int64_t> kept(125);
  for (size_t i = 0; i < kept.size(); ++i) kept[i] = static_cast<int64_t>(4 * i);
  cut(*saved, {{"fc1.weight", 0, 500, kept}, {"fc1.bias", 0, 500, kept}, {"fc2.weight", 1, 500, kept}});
  const auto file = folder.path() / "w.safetensors";
  save_weights(file, *saved, config, {});
  const auto model = three_classes(file, {"fc2"});
  const Parameter& fc2 = *model->find("fc2.weight");
  ASSERT_EQ(fc2.shape(), (Shape{3, 125}));
  const auto numbers = fc2.value().span<float>();
  const float largest = std::ranges::max(numbers, {}, [](float w) { return std::abs(w); });
  EXPECT_LE(std::abs(largest), 1 / std::sqrt(125.0f));
  EXPECT_GT(std::abs(largest), 1 / std::sqrt(500.0f)) << "PyTorch's bound for 125 inputs, not for 500";
}

TEST(Checkpoint, HoldsWhatAStageTrainsBesidesItsNetwork) {
  struct Beside : Module {
    Conv2d& map = add_child<Conv2d>("map", 2, 3, ByAxis(1), ops::Conv2dOptions{}, false);
    Variable forward(const Variable& x) override { return map(x); }
    std::string type() const override { return "beside"; }
  } beside, again;
  const TemporaryFolder folder;
  const auto file = folder / "c.safetensors";
  const Config config = small_config(R"({"name": "a", "evaluate": {}})");
  const auto model = make_model(config.model, 7);
  Parameter& weight = *beside.find("map.weight");
  weight.value().copy_from(Tensor::from({3, 1, 1, 2}, std::vector<float>{1, 2, 3, 4, 5, 6}));
  weight.state["slot0"] = Tensor::full(weight.shape(), 9.0f);
  weight.gradient() = Tensor::zeros(weight.shape());
  save_checkpoint(file, *model, config, {}, {}, stage_tensors(beside));
  load_checkpoint(file, *make_model(config.model, 3));  // passes over it
  open_checkpoint(file);
  NamedTensors read = read_stage_tensors(file);
  ASSERT_EQ(read.size(), 2u);
  load_stage_tensors(read, again, "c");
  const Parameter& found = *again.find("map.weight");
  EXPECT_EQ(found.value().f32()[5], 6);
  EXPECT_EQ(found.state_of("slot0").f32()[0], 9);
  EXPECT_FALSE(found.gradient().defined());

  EXPECT_EQ(message_of([&] { load_stage_tensors({}, again, "c"); }),
            "c: no tensor 'stage/map.weight', which the stage trains");
  EXPECT_EQ(message_of([&] {
              load_stage_tensors({{"stage/none.weight", Tensor::zeros({1})}}, again, "c");
            }),
            "c: 'stage/none.weight' is of nothing that the stage trains");
  EXPECT_EQ(message_of([&] {
              load_stage_tensors({{"stage/map.weight", Tensor::zeros({3, 2})}}, again, "c");
            }),
            "c: 'stage/map.weight' is f32[3, 2], expected f32[3, 2, 1, 1]");
}

}  // namespace
}  // namespace espalier

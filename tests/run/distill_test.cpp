#include "espalier/run/distill.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "espalier/formats/safetensors.h"
#include "espalier/nn/layers.h"
#include "espalier/run/advice.h"
#include "espalier/run/build.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/memory.h"
#include "espalier/run/plan.h"
#include "espalier/run/run.h"
#include "espalier/train/callbacks.h"
#include "espalier/util/atomic_file.h"
#include "espalier/util/input_file.h"
#include "espalier/util/mistakes.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/numbers.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

const std::string few_images = R"(, "train_images": 1050, "test_images": 200)";
const std::string teaching =
    R"({"name": "teaching", "train": {"steps": 30, "optimizer": {"type": "adam", "lr": 0.01}}})";

/// A stage of 15 steps, an epoch and four, that has `more` fields.
std::string fifteen_steps(const std::string& more, const std::string& name = "learning") {
  return R"({"name": ")" + name + R"(", "train": {"steps": 15, "optimizer": {"type": "sgd", "lr": 0.05,
             "momentum": 0.9}, "checkpoint_every": 1e-9)" +
         more + "}}";
}
std::string taught(const std::string& distill, const std::string& more = "") {
  return fifteen_steps(R"(, "distill": {)" + distill + "}" + more);
}

RunResult distill_in(const std::filesystem::path& folder, const Config& config, bool resume = false) {
  Console console(true);
  return run(config, {.output = folder.string(), .data = {}, .resume = resume}, console);
}

/// What a stage has left.
NamedTensors weights_left(const std::filesystem::path& folder, const std::string& stage) {
  return read_safetensors(RunFolder(folder).model(stage)).tensors;
}
void expect_same_weights(const NamedTensors& actual, const NamedTensors& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].first, expected[i].first);
    if (actual[i].second.dtype() == DType::f32) {
      EXPECT_TRUE(same_bits(actual[i].second, expected[i].second)) << actual[i].first;
    }
  }
}

std::string log_in(const std::filesystem::path& folder) { return read_file(RunFolder(folder).log()); }

TEST(Distill, AStageLearnsFromAnEarlierOneAndSaysWhatThatCosts) {
  const TemporaryFolder folder;
  const auto run = folder / "run";
  const RunResult result = distill_in(
      run,
      small_config(teaching + "," + taught(R"("teacher_stage": "teaching", "temperature": 2)"), few_images));
  ASSERT_TRUE(result.stages[1].teacher);
  EXPECT_FALSE(result.stages[0].teacher);
  const TeacherResult& teacher = *result.stages[1].teacher;
  EXPECT_EQ(teacher.name, "teaching");
  EXPECT_EQ(teacher.accuracy, result.stages[0].accuracy);
  EXPECT_EQ(teacher.macs, result.stages[0].macs);
  EXPECT_GT(teacher.time_share, 0);
  EXPECT_LT(teacher.time_share, 1);
  const std::string log = log_in(run);
  EXPECT_TRUE(contains(log, "learning  learns from teaching: test "));
  EXPECT_TRUE(contains(log, " %, 12,704 MACs, 1.00x the network's"));
  EXPECT_TRUE(contains(log, "learning  the teacher took "));
  const auto json = nlohmann::ordered_json::parse(read_file(RunFolder(run).result()));
  EXPECT_EQ(json["stages"][1]["teacher"]["time_share"], teacher.time_share);
  EXPECT_EQ(to_json(run_from_json(json, "")).dump(), json.dump());
}

TEST(Distill, MakesAnotherNetworkOfItAndAtWeightZeroTheSame) {
  const TemporaryFolder folder;
  distill_in(folder / "plain", small_config(teaching + "," + fifteen_steps(""), few_images));
  const auto distil = [&](const std::string& name, const std::string& weight) {
    distill_in(folder / name,
               small_config(teaching + "," + taught(R"("teacher_stage": "teaching", "weight": )" + weight),
                            few_images));
    return weights_left(folder / name, "learning");
  };
  const NamedTensors plain = weights_left(folder / "plain", "learning");
  expect_same_weights(distil("zero", "0"), plain);
  const NamedTensors half = distil("half", "0.5");
  EXPECT_FALSE(same_bits(half[0].second, plain[0].second));
  EXPECT_EQ(
      nlohmann::json::parse(read_file(folder / "zero" / "result.json"))["stages"][1]["teacher"]["time_share"],
      0);
}

/// Ends a run by an error after the step of this number.
int64_t leave_after = -1;
struct Leave : Callback {
  void after_step(TrainState& s) override {
    if (s.stage == "learning" && s.position.step == leave_after) fail("left");
  }
};
const std::string leave = R"(, "callbacks": [{"type": "leave"}])";
void register_leave() {
  if (!callbacks().find("leave"))
    callbacks().add({.name = "leave", .help = "of a test", .make = [](const ExtraOptions&) {
                       return std::make_unique<Leave>();
                     }});
}

/// A run that is left after the steps, each time to go on, comes to the same as one that is not.
void expect_resumes_to_the_same(const Config& config, const std::vector<int64_t>& steps) {
  const TemporaryFolder folder;
  leave_after = -1;
  const RunResult whole = distill_in(folder / "whole", config);
  for (size_t i = 0; i < steps.size(); ++i) {
    leave_after = steps[i];
    EXPECT_TRUE(contains(message_of([&] { distill_in(folder / "parts", config, i > 0); }), "left"));
  }
  leave_after = -1;
  const RunResult parts = distill_in(folder / "parts", config, true);
  expect_same_weights(weights_left(folder / "parts", "learning"), weights_left(folder / "whole", "learning"));
  EXPECT_EQ(parts.stages[1].loss, whole.stages[1].loss);
  EXPECT_EQ(parts.stages[1].teacher->accuracy, whole.stages[1].teacher->accuracy);
  EXPECT_GT(parts.stages[1].teacher->time_share, 0);
}

TEST(Distill, GoesOnInTheMiddleToTheSameBits) {
  register_leave();
  expect_resumes_to_the_same(
      small_config(teaching + "," + taught(R"("teacher_stage": "teaching")", leave + R"(, "ema": 0.9)"),
                   few_images),
      {4, 11, 13});
}

TEST(Distill, AStageThatIsMadeLongerComesToTheSameBits) {
  const TemporaryFolder folder;
  const std::string stages = teaching + "," + taught(R"("teacher_stage": "teaching")");
  std::string longer = stages;
  longer.replace(longer.find("\"steps\": 15"), 11, "\"steps\": 25");
  distill_in(folder / "parts", small_config(stages, few_images));
  distill_in(folder / "parts", small_config(longer, few_images), true);
  distill_in(folder / "whole", small_config(longer, few_images));
  expect_same_weights(weights_left(folder / "parts", "learning"), weights_left(folder / "whole", "learning"));
}

// The network loses channels while maps read them; all that has state has it: moments, averages, cuts.
TEST(Distill, MapsOfFeaturesGoOnToTheSameBitsWhileChannelsAreCut) {
  register_leave();
  const std::string stage =
      R"({"name": "learning", "train": {"steps": 15, "optimizer": {"type": "adam", "lr": 0.01, "clip_norm": 1},
          "ema": 0.9, "checkpoint_every": 1e-9, "distill": {"teacher_stage": "teaching", "features": [{"student": "fc1"}]},
          "prune": {"unit": "channel", "ratio": 0.5, "min_channels": 4,
                    "schedule": {"type": "linear", "begin": 2, "end": 10, "every": 2}})" +
      leave + "}}";
  const Config config = small_config(teaching + "," + stage, few_images);
  expect_resumes_to_the_same(config, {4, 7, 13});

  const TemporaryFolder folder;
  leave_after = 9;
  EXPECT_TRUE(contains(message_of([&] { distill_in(folder / "run", config); }), "left"));
  leave_after = -1;
  const auto checkpoint = RunFolder(folder / "run").checkpoint();
  const NamedTensors maps = read_stage_tensors(checkpoint);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : maps) names.push_back(name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"stage/average/distill.0.weight", "stage/distill.0.weight",
                                      "stage/slot0/distill.0.weight", "stage/slot1/distill.0.weight"}));
  const auto opened = open_checkpoint(checkpoint).model;  // who reads the network passes over them
  EXPECT_EQ(maps[0].second.shape(), (Shape{16, opened->find("fc1.weight")->shape()[0], 1, 1}));
  distill_in(folder / "run", config, true);
  EXPECT_TRUE(read_stage_tensors(checkpoint).empty()) << "they are the stage's";
  for (const auto& [name, tensor] : weights_left(folder / "run", "learning"))
    EXPECT_EQ(name.find("distill"), name.npos);
}

TEST(Distill, AStageOfFeaturesIsMadeLongerToTheSameBits) {
  const TemporaryFolder folder;
  const std::string cut = R"({"name": "cut", "prune": {"unit": "channel", "ratio": 0.5}})";
  const std::string stages =
      teaching + "," + cut + "," +
      taught(R"("teacher_stage": "teaching", "weight": 0, "features": [{"student": "fc1", "weight": 0.5}])");
  std::string longer = stages;
  longer.replace(longer.find("\"steps\": 15"), 11, "\"steps\": 25");
  distill_in(folder / "parts", small_config(stages, few_images));
  distill_in(folder / "parts", small_config(longer, few_images), true);
  distill_in(folder / "whole", small_config(longer, few_images));
  const NamedTensors whole = weights_left(folder / "whole", "learning");
  expect_same_weights(weights_left(folder / "parts", "learning"), whole);
  std::string plain = longer;
  plain.replace(plain.find("\"weight\": 0.5"), 13, "\"weight\": 50");
  distill_in(folder / "plain", small_config(plain, few_images));
  EXPECT_FALSE(same_bits(weights_left(folder / "plain", "learning")[0].second, whole[0].second));
}

TEST(Distill, FeaturesThatAreNotThereAreRefused) {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::string& features) {
    return message_of<UsageError>([&] {
      distill_in(folder / "run",
                 small_config(teaching + "," +
                                  taught(R"("teacher_stage": "teaching", "features": [)" + features + "]"),
                              few_images));
    });
  };
  EXPECT_EQ(refusal(R"({"student": "fc3"})"),
            "small.json: /stages/1 (learning): distill: features/0: student 'fc3' names no layer, known: "
            "fc1, fc2, did "
            "you mean 'fc1'?");
  EXPECT_FALSE(std::filesystem::exists(folder / "run"));
  // Of a file.
  const std::string file = (folder / "t.safetensors").string();
  save_weights(file, *make_model({.type = "lenet5"}, 0),
               [] {
                 Config config = small_config(teaching);
                 config.model.type = "lenet5";
                 return config;
               }(),
               {});
  DistillConfig distill{.teacher = file, .features = {{.student = "fc1", .teacher = "conv2"}}};
  const Config config = small_config(teaching);
  const auto model = build_model(config);
  EXPECT_EQ(message_of<UsageError>([&] { check_teacher(config, distill, *model); }),
            "distill: features/0: fc1 puts out [16], and the teacher's conv2 [8, 8, 50], expected to differ "
            "only in the "
            "channels, the last axis");
  distill.features[0].teacher = "fc1";
  EXPECT_NO_THROW(check_teacher(config, distill, *model));
}

TEST(Distill, TheMapsOfFeaturesArePlanned) {
  const std::string cut = R"({"name": "cut", "prune": {"unit": "weight", "sparsity": 0.5}})";
  Config config = small_config(
      teaching + "," + cut + "," +
          taught(
              R"("teacher_stage": "teaching", "features": [{"student": "fc1"}])",
              R"(, "prune": {"unit": "channel", "ratio": 0.25, "schedule": {"type": "one_shot", "begin": 2}})"),
      few_images);
  const DataSplits data = build_data(config, {});
  EXPECT_EQ(make_plan(config, data).memory.total(), plan_memory(config, &data).total());
  Config without = config;
  without.stages[2].train->distill->features.clear();
  // The last stage, whose optimizer has one slot, is the smaller one in it, but not in what it keeps.
  EXPECT_EQ(plan_memory(config, &data).gradients, plan_memory(without, &data).gradients + 4 * 16 * 16);
}

/// A network of another form, which a run has left.
Config of_another(const std::string& stages, const std::string& file) {
  Config config = small_config(stages, few_images);
  config.model.hidden = {9, 7};
  config.stages[0].train->distill->teacher = file;
  return config;
}

TEST(Distill, ATeacherMayBeAnyNetworkOfAFileCutOnesToo) {
  const TemporaryFolder folder;
  const std::string cut = R"({"name": "cut", "prune": {"unit": "channel", "ratio": 0.25}})";
  const RunResult first = distill_in(folder / "first", small_config(teaching + "," + cut, few_images));
  for (const char* file :
       {"models/teaching.safetensors", "models/cut.safetensors", "checkpoint.safetensors"}) {
    SCOPED_TRACE(file);
    const std::string teacher = (folder / "first" / file).string();
    const TemporaryFolder second;
    const RunResult result = distill_in(second / "run", of_another(taught(R"("teacher": "t")"), teacher));
    const StageResult& stage = first.stages[std::string(file) == "models/teaching.safetensors" ? 0 : 1];
    EXPECT_EQ(result.stages[0].teacher->macs, stage.macs);
    EXPECT_EQ(result.stages[0].teacher->accuracy, stage.accuracy);
    EXPECT_EQ(result.stages[0].teacher->name, teacher);
  }
}

TEST(Distill, ACutNetworkLearnsFromWhatItWas) {
  const TemporaryFolder folder;
  const std::string cut = R"({"name": "cut", "prune": {"unit": "channel", "ratio": 0.5}})";
  const RunResult result = distill_in(
      folder / "run",
      small_config(teaching + "," + cut + "," + taught(R"("teacher_stage": "teaching")"), few_images));
  EXPECT_EQ(result.stages[2].teacher->macs, 2 * result.stages[2].macs);
  EXPECT_TRUE(contains(log_in(folder / "run"), " MACs, 2.00x the network's"));
}

TEST(Distill, WhatCannotBeLearnedFromIsRefusedBeforeAnythingIsWritten) {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::string& teacher) {
    std::string text = message_of<UsageError>(
        [&] { distill_in(folder / "run", of_another(taught(R"("teacher": "t")"), teacher)); });
    EXPECT_FALSE(std::filesystem::exists(folder / "run"));
    return text;
  };
  const std::string at = "small.json: /stages/0 (learning): distill: teacher: ";
  const std::string missing = (folder / "none.safetensors").string(),
                    other = (folder / "other.safetensors").string();
  EXPECT_EQ(refusal(missing), at + missing + ": cannot open: No such file or directory");
  write_file(other, std::string("PK\x03\x04") + std::string(60, 'x'));
  EXPECT_TRUE(contains(refusal(other), at + other + ": is not a safetensors file"));
  const auto save = [&](const ModelOptions& options) {
    Config config = small_config(teaching);
    static_cast<ModelOptions&>(config.model) = options;
    save_weights(other, *make_model(options, 0), config, {});
  };
  save({.type = "mlp", .classes = 7});
  EXPECT_EQ(refusal(other), at + other + " has 7 outputs, expected one for each of the model's 10 classes");
  save({.type = "mlp", .input = {32, 32, 3}});
  EXPECT_EQ(refusal(other), at + other + " takes images of [32, 32, 3], expected the model's [28, 28, 1]");
  write_safetensors(other, {.tensors = {{"w", Tensor::zeros({1})}}, .metadata = {}});
  EXPECT_TRUE(contains(refusal(other), "not a checkpoint or model of Espalier's"));
}

TEST(Distill, ANetworkWithOpsOfAProgramsOwnIsRefused) {
  struct Own : Module {
    Linear& fc = add_child<Linear>("fc", 784, 10);
    Variable forward(const Variable& x) override {
      const Variable y = fc(ops::flatten(x));
      return record({.op = "own",
                     .attributes = {},
                     .inputs = {y},
                     .output = y.value().clone(),
                     .channels = Channels::kept,
                     .backward = {}});
    }
    std::string type() const override { return "own"; }
  } own;
  const TemporaryFolder folder;
  const std::string file = (folder / "own.safetensors").string();
  save_weights(file, own, DataDescription{.image = {28, 28, 1}});
  EXPECT_EQ(
      message_of<UsageError>([&] { check_teacher(small_config(teaching), {.teacher = file}, own); }),
      "distill: teacher: op 'own' is none of Espalier's: only the program that has it can run this network");
}

TEST(Distill, ClassesThatAreCalledOtherwiseAreAMistake) {
  const TemporaryFolder folder;
  const std::string file = (folder / "t.safetensors").string();
  Config config = of_another(taught(R"("teacher": "t")"), file);
  std::vector<std::string> names{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  config.data.type = "cifar10";  // whose classes have names
  Dataset data = columns(20, 1);
  data.class_names = names;
  names[3] = "three";
  save_weights(file, *make_model({.type = "mlp"}, 0), small_config(teaching), names);
  Mistakes mistakes;
  check_classes_of_teachers(config, 0, data, "place", mistakes);
  EXPECT_EQ(message_of([&] { mistakes.report("x"); }),
            "place: class 3 is '3', expected 'three', with which " + file + " was trained");
  Mistakes none;
  check_classes_of_teachers(config, 1, data, "place", none);
  EXPECT_TRUE(none.empty()) << "the stage is done";
}

TEST(Distill, WarnsOfPixelsThatWereNormalisedOtherwise) {
  const TemporaryFolder folder;
  const std::string file = (folder / "t.safetensors").string();
  Config config = of_another(taught(R"("teacher": "t")"), file);
  save_weights(file, *make_model({.type = "mlp"}, 0), small_config(teaching), {});
  EXPECT_TRUE(warnings_of_teachers(config).empty());
  config.data.normalize = NormalizeConfig{.mean = {0.5}, .std = {0.25}};
  EXPECT_EQ(
      warnings_of_teachers(config),
      std::vector<std::string>{"stage 'learning': teacher: " + file +
                               ": was trained on pixels that were not normalised, and the config's are of "
                               "mean 0.5, std 0.25"});
  EXPECT_TRUE(warnings_of_teachers(config, 1).empty());
}

TEST(Distill, ARunThatGoesOnMissesOnlyTeachersThatItStillNeeds) {
  register_leave();
  const TemporaryFolder folder;
  const Config config = small_config(
      teaching + "," + taught(R"("teacher_stage": "teaching")", leave) + "," + fifteen_steps("", "last"),
      few_images);
  leave_after = 5;
  EXPECT_TRUE(contains(message_of([&] { distill_in(folder / "run", config); }), "left"));
  leave_after = -1;
  const auto model = RunFolder(folder / "run").model("teaching");
  std::filesystem::rename(model, folder / "kept");
  EXPECT_EQ(message_of<UsageError>([&] { distill_in(folder / "run", config, true); }),
            model.string() +
                ": is missing, from which stage 'learning' is to learn; another run makes it again "
                "(--output DIR writes elsewhere)");
  // Another network in its place is noticed.
  save_weights(model, *make_model(config.model, 99), config, {});
  EXPECT_TRUE(contains(message_of([&] { distill_in(folder / "run", config, true); }),
                       "teaching: is another network than the one that this stage has learned from so far"));
  std::filesystem::rename(folder / "kept", model);
  EXPECT_EQ(distill_in(folder / "run", config, true).stages.size(), 3u);
}

TEST(Distill, ADoneStagesTeacherMayBeGone) {
  const TemporaryFolder folder;
  distill_in(folder / "first", small_config(teaching, few_images));
  const auto file = RunFolder(folder / "first").model("teaching");
  Config config = small_config(taught(R"("teacher": "t")") + "," + fifteen_steps("", "last"), few_images);
  config.stages[0].train->distill->teacher = file.string();
  distill_in(folder / "run", config);
  std::filesystem::remove(file);
  Config longer = config;
  longer.stages[1].train->steps = 20;
  EXPECT_EQ(distill_in(folder / "run", longer, true).stages.size(), 2u);
}

TEST(Distill, ItsMemoryAndTimeArePlanned) {
  const TemporaryFolder folder;
  const std::string stages = teaching + "," + taught(R"("teacher_stage": "teaching")");
  const Config config = small_config(stages, few_images);
  const DataSplits data = build_data(config, {});
  const MemoryPlan plain = plan_memory(small_config(teaching + "," + fifteen_steps(""), few_images), &data),
                   memory = plan_memory(config, &data);
  const double parameters = 4 * (784 * 16 + 16 + 160 + 10);
  EXPECT_EQ(plain.teacher, 0);
  EXPECT_EQ(memory.teacher, parameters);
  EXPECT_EQ(memory.total(), plain.total() + parameters);
  EXPECT_TRUE(contains(memory.text(), ", optimizer 102 kB, teacher 50.9 kB, activations of a batch "));
  const Plan plan = make_plan(config, data);
  EXPECT_EQ(plan.memory.text(), memory.text());
  EXPECT_EQ(plan.stages[0].teacher_macs, 0);
  EXPECT_EQ(plan.stages[1].teacher_macs, 12704);
  EXPECT_GT(plan.stages[1].teacher_share, 0);
  EXPECT_LT(plan.stages[1].teacher_share, 1);
  // One that is cut before it teaches is planned as the cut leaves it.
  const std::string cut = R"({"name": "cut", "prune": {"unit": "channel", "ratio": 0.5}}, )";
  EXPECT_EQ(make_plan(small_config(cut + taught(R"("teacher_stage": "cut")"), few_images), data)
                .stages[1]
                .teacher_macs,
            6352);
  Config missing = of_another(taught(R"("teacher": "t")"), (folder / "none").string());
  EXPECT_EQ(plan_memory(missing).teacher, 0) << "of which check_teacher tells";
}

TEST(Distill, AdviceOnWhatHardlyAnybodyWants) {
  const auto lines = [](const std::string& distill) {
    return advice(small_config(teaching + "," + taught(R"("teacher_stage": "teaching", )" + distill)), 10);
  };
  EXPECT_TRUE(lines(R"("weight": 0.5)").empty());
  EXPECT_EQ(
      lines(R"("weight": 0)"),
      std::vector<std::string>{"small.json: /stages/1/train/distill/weight: 0 asks the teacher nothing: the "
                               "stage trains as without it"});
  EXPECT_EQ(lines(R"("temperature": 80)"),
            std::vector<std::string>{
                "small.json: /stages/1/train/distill/temperature: 80 leaves hardly a difference "
                "between classes: up to 50 are in use"});
}

}  // namespace
}  // namespace espalier

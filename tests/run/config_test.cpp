// What is read: defaults, values, overrides. config_messages_test.cpp has what is refused,
// config_output_test.cpp what is written.
#include "espalier/run/config.h"

#include <gtest/gtest.h>

#include <fstream>

#include <cmath>

#include "espalier/run/pruning.h"
#include "run/minimal_config.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

TEST(Config, DefaultsAreFilledIn) {
  const Config config = parse(minimal());
  EXPECT_EQ(config.name, "x");
  EXPECT_EQ(config.seed, 0);
  EXPECT_EQ(config.model.input, (Shape{28, 28, 1}));
  EXPECT_EQ(config.model.hidden, (std::vector<int64_t>{256, 128}));
  EXPECT_EQ(config.model.classes, 10);
  EXPECT_FALSE(config.model.weights);
  EXPECT_EQ(config.data.batch, 64);
  EXPECT_TRUE(config.data.shuffle);
  ASSERT_EQ(config.stages.size(), 4u);
  EXPECT_EQ(config.stages[0].kind(), StageKind::train);
  EXPECT_EQ(config.stages[1].kind(), StageKind::prune);
  EXPECT_EQ(config.stages[2].kind(), StageKind::evaluate);
  EXPECT_EQ(config.stages[0].train->schedule.type, "constant");
  EXPECT_EQ(config.stages[0].train->log_every, 100);
  EXPECT_EQ(config.stages[1].prune->criterion.type, "l1");
  EXPECT_EQ(config.stages[3].train->prune->schedule->end, 40);
}

TEST(Config, EveryValueArrives) {
  const Config config = parse(Json::parse(R"({
    "name": "run-1", "seed": 7,
    "model": {"type": "lenet5", "input": [32, 32, 3], "classes": 6, "width": 0.5, "activation": "gelu",
              "pool": "average", "weights": "w.safetensors"},
    "data": {"type": "mnist", "root": "r", "path": "p", "batch": 8, "shuffle": false, "validation": 0.1,
             "normalize": {"mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]}},
    "stages": [{"name": "a", "train": {"steps": 5,
      "optimizer": {"type": "sgd", "lr": 0.2, "momentum": 0.9, "nesterov": true, "weight_decay": 0.01,
                    "lr_of": {"bias": 0.4}, "decay": {"norm": 0, "bias": 0, "fc*": 0.5}, "clip_norm": 2},
      "schedule": {"type": "multistep", "milestones": [1, 3], "gamma": 0.5, "warmup_steps": 2},
      "label_smoothing": 0.1, "ema": 0.99, "log_every": 9, "eval_every": 2, "checkpoint_every": 60,
      "early_stop": {"patience": 3, "min_delta": 0.25},
      "prune": {"unit": "row", "criterion": "l2", "scope": "layer", "threshold": 0.5, "include": ["conv"],
                "exclude": ["fc"], "remove": true, "schedule": {"type": "one_shot", "begin": 4}}}}]})"));
  EXPECT_EQ(config.name, "run-1");
  EXPECT_EQ(config.seed, 7);
  EXPECT_EQ(config.model.input, (Shape{32, 32, 3}));
  EXPECT_EQ(config.model.classes, 6);
  EXPECT_EQ(config.model.width, 0.5);
  EXPECT_EQ(config.model.activation, "gelu");
  EXPECT_EQ(config.model.pool, "average");
  EXPECT_EQ(config.model.weights, "w.safetensors");
  EXPECT_EQ(config.data.root, "r");
  EXPECT_EQ(config.data.path, "p");
  EXPECT_EQ(config.data.batch, 8);
  EXPECT_FALSE(config.data.shuffle);
  EXPECT_EQ(config.data.validation, 0.1);
  EXPECT_EQ(config.data.normalize->mean, (std::vector<double>{0.1, 0.2, 0.3}));
  EXPECT_EQ(config.data.normalize->std, (std::vector<double>{1, 2, 3}));
  const TrainConfig& train = *config.stages[0].train;
  EXPECT_EQ(train.steps, 5);
  EXPECT_EQ(train.optimizer.lr, 0.2);
  EXPECT_EQ(train.optimizer.momentum, 0.9);
  EXPECT_TRUE(train.optimizer.nesterov);
  EXPECT_EQ(train.optimizer.weight_decay, 0.01);
  EXPECT_EQ(train.optimizer.clip_norm, 2);
  using Groups = std::vector<std::pair<std::string, double>>;
  EXPECT_EQ(train.optimizer.lr_of, (Groups{{"bias", 0.4}}));
  EXPECT_EQ(train.optimizer.decay, (Groups{{"norm", 0}, {"bias", 0}, {"fc*", 0.5}}));
  EXPECT_EQ(train.schedule.milestones, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(train.schedule.gamma, 0.5);
  EXPECT_EQ(train.schedule.warmup_steps, 2);
  EXPECT_EQ(train.label_smoothing, 0.1);
  EXPECT_EQ(train.ema, 0.99);
  EXPECT_EQ(train.log_every, 9);
  EXPECT_EQ(train.eval_every, 2);
  EXPECT_EQ(train.checkpoint_every, 60);
  EXPECT_EQ(train.early_stop->patience, 3);
  EXPECT_EQ(train.early_stop->min_delta, 0.25);
  EXPECT_EQ(train.prune->unit, "row");
  EXPECT_EQ(train.prune->criterion.type, "l2");
  EXPECT_EQ(train.prune->scope, "layer");
  EXPECT_EQ(train.prune->threshold, 0.5);
  EXPECT_FALSE(train.prune->sparsity);
  EXPECT_EQ(train.prune->include, std::vector<std::string>{"conv"});
  EXPECT_EQ(train.prune->exclude, std::vector<std::string>{"fc"});
  EXPECT_TRUE(train.prune->remove);
  EXPECT_EQ(train.prune->schedule->begin, 4);
}

TEST(Config, WhatASchedulesEveryIsDependsOnWhatItCounts) {
  const auto schedule = [](const std::string& fields) {
    return *parse(with("/stages/3/train/prune/schedule", R"({"type": "cubic")" + fields + "}"))
                .stages[3]
                .train->prune->schedule;
  };
  EXPECT_EQ(schedule("").every, 100);
  EXPECT_EQ(schedule(R"(, "in": "epochs")").every, 1);
  EXPECT_EQ(schedule(R"(, "in": "share")").every, 0.01);
  EXPECT_EQ(schedule(R"(, "every": 0.5, "in": "share")").every, 0.5);
}

TEST(Config, SchedulesOfAProgramsOwnAreNamedWithTheirOptions) {
  learning_rate_schedules().add(
      {.name = "decay",
       .help = "lr base^step",
       .options = {"min_lr"},
       .extra = {{.name = "base", .help = "kept each step", .value = 0.5, .from = 0, .to = 1}},
       .rate = [](const ScheduleOptions& o, double lr, int64_t step, int64_t, int64_t) {
         return std::max(o.min_lr, lr * std::pow(o.extra.number("base"), static_cast<double>(step)));
       }});
  prune_schedules().add({.name = "power",
                         .help = "(1 - p)^exponent",
                         .extra = {{.name = "exponent", .help = "the power", .value = int64_t{2}, .from = 1}},
                         .left = [](double rest, const ExtraOptions& extra) {
                           return std::pow(rest, static_cast<double>(extra.whole("exponent")));
                         }});

  const char* rates = "/stages/0/train/schedule";
  const auto rate = [&](const char* schedule) {
    return learning_rate(parse(with(rates, schedule)).stages[0].train->schedule, 1.0, 2, 10, 5);
  };
  EXPECT_EQ(rate(R"({"type": "decay"})"), 0.25);
  EXPECT_EQ(rate(R"({"type": "decay", "base": 0.1, "min_lr": 0.03})"), 0.03);

  const char* prunes = "/stages/3/train/prune/schedule";
  const auto share = [&](const char* schedule) {
    const TrainConfig train = *parse(with(prunes, schedule)).stages[3].train;
    return prune_schedule(train, {.epoch_steps = 10, .steps = 50}).sparsity_at(20, 0.8);
  };
  EXPECT_NEAR(share(R"({"type": "power", "end": 40})"), 0.8 * (1 - 0.25), 1e-12);
  EXPECT_NEAR(share(R"({"type": "power", "end": 40, "exponent": 3})"), 0.8 * (1 - 0.125), 1e-12);

  const auto refusal = [](const char* pointer, const char* value) {
    return message_of([&] { parse(with(pointer, value)); });
  };
  EXPECT_EQ(refusal(rates, R"({"type": "decay", "base": 2})"),
            "x.json: /stages/0/train/schedule/base: found 2, expected a number from 0 to 1");
  EXPECT_EQ(refusal(rates, R"({"type": "cosine", "base": 1})"),
            "x.json: /stages/0/train/schedule/base: is for type decay, and the type is cosine");
  EXPECT_EQ(
      refusal(prunes, R"({"type": "power", "exponent": 0})"),
      "x.json: /stages/3/train/prune/schedule/exponent: found 0, expected a whole number of at least 1");
  EXPECT_EQ(refusal(prunes, R"({"type": "cubic", "exponent": 2})"),
            "x.json: /stages/3/train/prune/schedule/exponent: is for type power, and the type is cubic");
}

TEST(Config, WeightDecayDefaultsAsInPyTorch) {
  const auto weight_decay = [](const std::string& optimizer) {
    return parse(with("/stages/0/train/optimizer", optimizer)).stages[0].train->optimizer.weight_decay;
  };
  EXPECT_EQ(weight_decay(R"({"type": "sgd", "lr": 1})"), 0.0);
  EXPECT_EQ(weight_decay(R"({"type": "adam", "lr": 1})"), 0.0);
  EXPECT_EQ(weight_decay(R"({"type": "adamw", "lr": 1})"), 0.01);
  EXPECT_EQ(weight_decay(R"({"type": "adamw", "lr": 1, "weight_decay": 0})"), 0.0);
}

TEST(Config, WholeNumbersMayBeWrittenAsDecimals) {
  EXPECT_EQ(parse(with("/stages/0/train/epochs", "3.0")).stages[0].train->epochs, 3);
  EXPECT_EQ(parse(with("/stages/0/train/epochs", "1e2")).stages[0].train->epochs, 100);
}

TEST(Config, SchemaKeyIsSkipped) {
  EXPECT_FALSE(config_json(parse(with("/$schema", R"("schema.json")"))).contains("$schema"));
}

TEST(Config, AModelTakesTheOptionsThatConcernIt) {
  const auto model = [](const char* text) {
    Json json = minimal();
    json["model"] = Json::parse(text);
    return parse(json).model;
  };
  const ModelConfig resnet = model(R"({"type": "resnet50", "stem": "imagenet", "pool": "average"})");
  EXPECT_EQ(resnet.stem, "imagenet");
  EXPECT_EQ(resnet.pool, "average");
  EXPECT_EQ(resnet.input, (Shape{224, 224, 3}));
  EXPECT_EQ(model(R"({"type": "resnet50"})").stem, std::nullopt) << "the image decides";
  const ModelConfig vit =
      model(R"({"type": "vit", "patch": 8, "dim": 96, "depth": 4, "heads": 2, "mlp_ratio": 2.5})");
  EXPECT_EQ((std::vector{vit.patch, vit.dim, vit.depth, vit.heads}), (std::vector<int64_t>{8, 96, 4, 2}));
  EXPECT_EQ(vit.mlp_ratio, 2.5);
  const ModelConfig vgg = model(R"({"type": "vgg19", "batch_norm": false})");
  EXPECT_FALSE(vgg.batch_norm);
  EXPECT_EQ(vgg.classes, 100);
  EXPECT_TRUE(model(R"({"type": "vgg19"})").batch_norm);
}

TEST(Config, ClassesAreTheDataSets) {
  const auto classes = [](const char* data, const char* model = R"({"type": "vgg19"})") {
    Json json = minimal();
    json["model"] = Json::parse(model);
    json["data"] = Json::parse(data);
    return parse(json).model.classes;
  };
  EXPECT_EQ(classes(R"({"type": "mnist"})"), 10);
  EXPECT_EQ(classes(R"({"type": "cifar10"})"), 10);
  EXPECT_EQ(classes(R"({"type": "cifar100"})", R"({"type": "resnet20"})"), 100);
  EXPECT_EQ(classes(R"({"type": "cifar100", "labels": "coarse"})"), 20);
  EXPECT_EQ(classes(R"({"type": "synthetic"})"), 100) << "drawn as the model's";
  EXPECT_EQ(classes(R"({"type": "cifar10", "remap": true})"), 0) << "the files decide";
  EXPECT_EQ(classes(R"({"type": "image_folder", "path": "pets"})"), 0);
  EXPECT_EQ(classes(R"({"type": "mnist"})", R"({"type": "vgg19", "classes": 7})"), 7);
}

TEST(Config, ClassesThatFilesDecideAreNotWritten) {
  Json json = minimal();
  json["data"] = {{"type", "image_folder"}, {"path", "pets"}};
  Config config = parse(json);
  EXPECT_FALSE(config_json(config)["model"].contains("classes"));
  config.model.classes = 3;
  EXPECT_EQ(config_json(config)["model"]["classes"], 3);
}

TEST(Config, BothEndsOfSparsityAreAllowed) {
  EXPECT_EQ(parse(with("/stages/1/prune/sparsity", "0")).stages[1].prune->sparsity, 0.0);
  EXPECT_EQ(parse(with("/stages/1/prune/sparsity", "1")).stages[1].prune->sparsity, 1.0);
}

// --- Rounds ---

Json with_round() {
  return with("/stages/1", R"({"name": "round", "repeat": 2, "stages": [
    {"name": "pruned", "prune": {"sparsity": 0.2, "of": "remaining", "rewind": "dense"}},
    {"name": "tuned", "train": {"epochs": 4, "optimizer": {"type": "sgd", "lr": 0.1}}}]})");
}

std::vector<std::string> names_of(const Config& config) {
  std::vector<std::string> names;
  for (const StageConfig& stage : config.stages) names.push_back(stage.name);
  return names;
}

TEST(Config, ARoundIsTakenApart) {
  const Config config = parse(with_round());
  EXPECT_EQ(names_of(config),
            (std::vector<std::string>{"dense", "round1.pruned", "round1.tuned", "round2.pruned",
                                      "round2.tuned", "measured", "gradual"}));
  for (const size_t stage : {1, 3}) {
    EXPECT_EQ(config.stages[stage].prune->sparsity, 0.2);
    EXPECT_EQ(config.stages[stage].prune->rewind, "dense");
    EXPECT_EQ(stage_pointer(config, stage), "/stages/1/stages/0");
  }
  EXPECT_EQ(config.stages[4].train->epochs, 4);
  EXPECT_EQ(stage_pointer(config, 5), "/stages/2");
  // What is written is the plain list, and reads back to the same.
  const Json written = config_json(config);
  EXPECT_EQ(written["stages"].size(), 7u);
  EXPECT_EQ(written["stages"][3]["name"], "round2.pruned");
  const Config again = parse(written);
  EXPECT_EQ(config_json(again), written);
  EXPECT_EQ(stage_pointer(again, 3), "/stages/3");
  EXPECT_EQ(parse(written, {"stages.round2.tuned.train.epochs=7"}).stages[4].train->epochs, 7);
}

TEST(Config, ARoundIsSetAsItIsWritten) {
  const Config config =
      parse(with_round(), {"stages.round.repeat=3", "stages.round.stages.tuned.train.epochs=1",
                           "/stages/1/stages/0/prune/sparsity=0.5"});
  EXPECT_EQ(config.stages.size(), 9u);
  EXPECT_EQ(config.stages[6].name, "round3.tuned");
  for (const size_t stage : {2, 4, 6}) EXPECT_EQ(config.stages[stage].train->epochs, 1);
  for (const size_t stage : {1, 3, 5}) EXPECT_EQ(config.stages[stage].prune->sparsity, 0.5);
  EXPECT_EQ(message_of<UsageError>([] { parse(with_round(), {"stages.round.stages.tuned.train.epochs=0"}); }),
            "x.json: stages.round.stages.tuned.train.epochs: found 0, expected a whole number of at least 1 "
            "(set on the command line)");
  EXPECT_EQ(
      message_of<UsageError>([] { parse(with_round(), {"stages.round.stages.pruned.prune.rewind=tuned"}); }),
      "x.json: stages.round.stages.pruned.prune.rewind: found \"tuned\", expected an earlier stage, "
      "known: dense (set on the command line)");
}

TEST(Config, AStageGoesBackToOneOfTheSameShapes) {
  Json json = with("/stages/1/prune/rewind", "\"dense\"");
  EXPECT_EQ(parse(json).stages[1].prune->rewind, "dense");
  json["stages"].insert(json["stages"].begin() + 1,
                        Json::parse(R"({"name": "cut", "prune": {"unit": "channel", "ratio": 0.5}})"));
  EXPECT_EQ(
      message_of<UsageError>([&] { parse(json); }),
      "x.json: /stages/2/prune/rewind: found \"dense\", whose weights have other shapes than those here: "
      "stage 'cut' cuts channels in between");
  json["stages"][2]["prune"]["rewind"] = "cut";
  EXPECT_NO_THROW(parse(json));
  json["stages"][2]["prune"] = {{"sparsity", 0}, {"reinitialize", true}};
  EXPECT_EQ(
      message_of<UsageError>([&] { parse(json); }),
      "x.json: /stages/2/prune/reinitialize: makes weights of the shapes that the model began with: stage "
      "'cut' cuts channels before");
}

// --- Pruning ---

TEST(Config, WhatPruningTakesArrives) {
  const Config config = parse(with("/stages/1/prune", R"({"sparsity": 0.9, "scope": "erk", "of": "remaining",
    "sparsity_of": {"fc1": 0.98, "fc*": 0.5}})"));
  const PruneOptions options = prune_options(*config.stages[1].prune, 0);
  EXPECT_EQ(options.selection.scope.name, "erk");
  EXPECT_EQ(options.selection.shares_of, (SharesOfLayers{{"fc1", 0.98}, {"fc*", 0.5}}));
  EXPECT_EQ(options.of, Of::remaining);
  EXPECT_EQ(config_json(parse(config_json(config))), config_json(config));
  const PruneOptions padded =
      prune_options(*parse(with("/stages/1/prune", R"({"unit": "2:4", "pad": true})")).stages[1].prune, 0);
  EXPECT_EQ(padded.unit, Unit::n_of(2, 4, true));
  EXPECT_FALSE(
      prune_options(*parse(with("/stages/3/train/prune/hold", "false")).stages[3].train->prune, 0).hold);
}

TEST(Config, ATablesPlacesAreInItsUnit) {
  const auto schedule = [](const std::string& in, const std::string& table) {
    const Json json = with("/stages/3/train/prune/schedule",
                           R"({"type": "table", "in": ")" + in + R"(", "table": )" + table + "}");
    const Config config = parse(json);
    EXPECT_EQ(config_json(parse(config_json(config))), config_json(config));
    return prune_schedule(*config.stages[3].train, {.epoch_steps = 10, .steps = 50});
  };
  using Table = std::vector<std::pair<int64_t, double>>;
  EXPECT_EQ(schedule("steps", "[[3, 0.5], [20, 0.9]]").table, (Table{{3, 0.5}, {20, 0.9}}));
  const Schedule epochs = schedule("epochs", "[[0, 0.2], [1.5, 0.5], [4, 0.9]]");
  EXPECT_EQ(epochs.table, (Table{{0, 0.2}, {15, 0.5}, {40, 0.9}}));
  EXPECT_EQ(epochs.begin, 0);
  EXPECT_EQ(epochs.last(), 40);
  EXPECT_EQ(schedule("share", "[[0.5, 0.5], [1, 0.9]]").table, (Table{{25, 0.5}, {49, 0.9}}));
  EXPECT_EQ(message_of<UsageError>([&] { schedule("share", "[[0.5, 0.5], [0.501, 0.9]]"); }),
            "prune schedule: table has step 25 after step 25, expected a later one in each row");
}

TEST(Config, DenseSparseDenseIsThreeStages) {  // Han et al.: DSD, ICLR 2017
  const Config config = parse(with("/stages/1/prune/remove", "true"));
  EXPECT_TRUE(config.stages[1].prune->remove);
  EXPECT_NO_THROW(parse(Json::parse(R"({"model": {"type": "mlp"}, "data": {"type": "synthetic"}, "stages": [
    {"name": "dense", "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 0.1}}},
    {"name": "masked", "prune": {"sparsity": 0.5}},
    {"name": "sparse", "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 0.1}}},
    {"name": "free", "prune": {"sparsity": 0.5, "remove": true}},
    {"name": "again", "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 0.01}}}]})")));
}

TEST(Config, OverridesAreAppliedInOrder) {
  const Config config =
      parse(minimal(), {"stages.dense.train.epochs=1", "stages.1.prune.sparsity=0.5", "seed=3", "name=2024",
                        "data.normalize.mean=[0.5]", "data.normalize.std=[0.5]", "model.hidden=[32, 16]",
                        "model.hidden.0=64", "stages.gradual.train.prune.include=[\"fc1\"]", "seed=4",
                        "stages.3.train.prune.include.0=fc2", "stages.pruned.prune.scope=layer"});
  EXPECT_EQ(config.stages[0].train->epochs, 1);
  EXPECT_EQ(config.stages[1].prune->sparsity, 0.5);
  EXPECT_EQ(config.stages[1].prune->scope, "layer");
  EXPECT_EQ(config.seed, 4);
  EXPECT_EQ(config.name, "2024");
  EXPECT_EQ(config.data.normalize->mean, std::vector<double>{0.5});
  EXPECT_EQ(config.model.hidden, (std::vector<int64_t>{64, 16}));
  EXPECT_EQ(config.stages[3].train->prune->include, std::vector<std::string>{"fc2"});
}

TEST(Config, AnOverrideWithNullTakesAFieldAway) {
  const Config config = parse(minimal(), {"stages.dense.train.epochs=null", "stages.dense.train.steps=10"});
  EXPECT_FALSE(config.stages[0].train->epochs);
  EXPECT_EQ(config.stages[0].train->steps, 10);
}

TEST(Config, OfARunsFolderIsReadAsASavedOne) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "config.json";
  Json json = minimal();
  json["stages"][0]["train"]["regularize"] = {{"type", "greg1"}, {"most", 0.25}};
  std::ofstream(file) << json.dump();
  EXPECT_NE(message_of<UsageError>([&] { load_config(file.string()); }).find("is now called 'max'"),
            std::string::npos);
  std::ofstream(folder.path() / "checkpoint.safetensors") << "of a run";
  EXPECT_EQ(load_config(file.string()).stages[0].train->regularize->max, 0.25);
}

TEST(Config, OfASavedRunMayHaveTheNamesOfBefore) {
  Json json = minimal();
  json["stages"][0]["train"]["regularize"] = {{"type", "greg1"}, {"most", 0.25}};
  EXPECT_EQ(parse_saved_config(json.dump(), "x.json").stages[0].train->regularize->max, 0.25);
  EXPECT_EQ(message_of<UsageError>([&] { parse(json); }),
            "x.json: /stages/0/train/regularize: field 'most' is now called 'max'");
  EXPECT_EQ(message_of<UsageError>([] { parse_saved_config("{]", "x.json"); }),
            message_of<UsageError>([] { parse_config("{]", "x.json"); }));
}

}  // namespace
}  // namespace espalier

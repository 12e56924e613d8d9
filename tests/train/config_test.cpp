#include "espalier/train/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

const std::string source = ESPALIER_SOURCE_DIR;

Json minimal() {
  return Json::parse(R"({
    "model": {"type": "mlp"},
    "data": {"type": "synthetic"},
    "stages": [
      {"name": "dense", "train": {"epochs": 3, "optimizer": {"type": "sgd", "lr": 0.1}}},
      {"name": "pruned", "prune": {"sparsity": 0.3}},
      {"name": "measured", "evaluate": {}},
      {"name": "gradual", "train": {"steps": 50, "optimizer": {"type": "adam", "lr": 0.1},
       "prune": {"sparsity": 0.9, "schedule": {"type": "cubic", "begin": 10, "end": 40, "every": 5}}}}]})");
}

Config parse(const Json& json, const std::vector<std::string>& overrides = {}) {
  return parse_config(json.dump(2), "x.json", overrides);
}

/// The minimal config with `value` (JSON) at `pointer`; nothing there if `value` is empty.
Json with(const std::string& pointer, const std::string& value) {
  Json json = minimal();
  const Json::json_pointer at(pointer);
  if (value.empty()) {
    json[at.parent_pointer()].erase(at.back());
  } else {
    json[at] = Json::parse(value);
  }
  return json;
}

std::string refusal(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return message_of([&] {
    try {
      parse_config(text, "x.json", overrides);
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      ADD_FAILURE() << "not a UsageError: " << error.what();
      throw;
    }
  });
}

std::vector<std::string> committed_configs() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(source + "/configs")) {
    if (entry.path().filename() != "schema.json") files.push_back(entry.path().string());
  }
  return files;
}

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
  EXPECT_EQ(config.stages[1].prune->criterion, "l1");
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
      "optimizer": {"type": "sgd", "lr": 0.2, "momentum": 0.9, "nesterov": true, "weight_decay": 0.01, "clip_norm": 2},
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
  EXPECT_EQ(train.prune->criterion, "l2");
  EXPECT_EQ(train.prune->scope, "layer");
  EXPECT_EQ(train.prune->threshold, 0.5);
  EXPECT_FALSE(train.prune->sparsity);
  EXPECT_EQ(train.prune->include, std::vector<std::string>{"conv"});
  EXPECT_EQ(train.prune->exclude, std::vector<std::string>{"fc"});
  EXPECT_TRUE(train.prune->remove);
  EXPECT_EQ(train.prune->schedule->begin, 4);
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

TEST(Config, CommittedConfigsResolveToThemselves) {
  const auto files = committed_configs();
  ASSERT_GE(files.size(), 5u);
  for (const std::string& file : files) {
    const Json resolved = config_json(load_config(file));
    EXPECT_EQ(config_json(parse_config(resolved.dump(), "saved")), resolved) << file;
    EXPECT_EQ(resolved["name"], std::filesystem::path(file).stem().string());
    EXPECT_FALSE(resolved["data"].contains("root")) << file;
  }
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
  const ModelConfig vgg = model(R"({"type": "vgg19", "batch_norm": false})");
  EXPECT_FALSE(vgg.batch_norm);
  EXPECT_EQ(vgg.classes, 100);
  EXPECT_TRUE(model(R"({"type": "vgg19"})").batch_norm);
}

TEST(Config, ResolvedHoldsWhatAppliesInDeclaredOrder) {
  const Json resolved = config_json(parse(minimal()));
  EXPECT_EQ(resolved["stages"][0]["train"]["optimizer"].dump(),
            R"({"type":"sgd","lr":0.1,"momentum":0.0,"nesterov":false,"weight_decay":0.0,"clip_norm":0.0})");
  EXPECT_EQ(resolved["stages"][2].dump(),
            R"({"name":"measured","evaluate":{"flip":false,"reestimate_norm":0}})");
  EXPECT_EQ(
      resolved["model"].dump(),
      R"({"type":"mlp","input":[28,28,1],"classes":10,"hidden":[256,128],"width":1.0,"activation":"relu"})");
}

// What stands in a field, and the message it gets.
struct Mistake {
  const char* pointer;
  const char* value;
  std::string message;
};

TEST(Config, MistakesAreNamed) {
  const std::string models =
      "mlp, lenet300, lenet5, vgg11, vgg13, vgg16, vgg19, resnet20, resnet32, resnet44, resnet56, resnet110, "
      "resnet18, resnet34, resnet50, resnet101, resnet152";
  const Mistake mistakes[] = {
      // Names.
      {"/model/hiden", "[3]", "/model/hiden: no such field, did you mean 'hidden'?"},
      {"/zebra", "1", "/zebra: no such field, known: name, seed, model, data, stages"},
      {"/stages/0/train/lr", "1",
       "/stages/0/train/lr: no such field, known: epochs, steps, optimizer, schedule, loss, label_smoothing, "
       "ema, accumulate, prune, log_every, eval_every, early_stop, checkpoint_every, reestimate_norm"},
      {"/a~1b", "1", "/a~1b: no such field, known: name, seed, model, data, stages"},
      {"/stages/2/export", "{}", "/stages/2/export: not built yet"},
      {"/stages/0/train/regularize", "{}", "/stages/0/train/regularize: not built yet"},
      {"/stages/1/prune/speedup", "2", "/stages/1/prune/speedup: not built yet"},
      // What is missing.
      {"/model", "", "/model: missing, expected an object"},
      {"/data/type", "",
       "/data/type: missing, expected one of mnist, cifar10, cifar100, image_folder, synthetic"},
      {"/stages", "", "/stages: missing, expected a list of at least 1, each an object"},
      {"/stages/0/name", "",
       "/stages/0/name: missing, expected a name of letters, digits, '-', '_' and '.', beginning with a "
       "letter or "
       "digit"},
      {"/stages/0/train/optimizer", "", "/stages/0/train/optimizer: missing, expected an object"},
      {"/stages/0/train/optimizer/lr", "",
       "/stages/0/train/optimizer/lr: missing, expected a number above 0"},
      {"/stages/0/train/optimizer/type", "",
       "/stages/0/train/optimizer/type: missing, expected one of sgd, adam, adamw"},
      // Augmentations.
      {"/data/augment", "[{\"type\": \"crpo\"}]",
       "/data/augment/0/type: found the text \"crpo\", expected one of crop, flip, cutout, "
       "random_resized_crop, "
       "color_jitter, mixup, did you mean 'crop'?"},
      {"/data/augment", "[{\"type\": \"flip\"}, {\"type\": \"crop\"}]",
       "/data/augment/1/pad: missing, expected a whole number from 1 to 65536"},
      {"/data/augment", "[{\"type\": \"crop\", \"pad\": 4, \"probability\": 1}]",
       "/data/augment/0/probability: is for type flip, and the type is crop"},
      {"/data/augment", "[{\"type\": \"crop\", \"pad\": 4, \"fil\": \"zero\"}]",
       "/data/augment/0/fil: no such field, did you mean 'fill'?"},
      {"/data/augment", "[{\"type\": \"random_resized_crop\", \"scale\": [0.5, 0.2]}]",
       "/data/augment/0/scale/1: found 0.2, expected at least the number before it: 0.5"},
      {"/data/augment", "[{\"type\": \"crop\", \"pad\": 28, \"fill\": \"reflect\"}]",
       "/data/augment/0/pad: found 28, but images [28, 28, 1] reflect at most 27"},
      {"/data/augment", "[{\"type\": \"cutout\", \"size\": 29}]",
       "/data/augment/0/size: found 29, but images are [28, 28, 1]"},
      {"/data/augment", "[{\"type\": \"mixup\", \"alpha\": 1}, {\"type\": \"flip\"}]",
       "/data/augment/0/type: mixup mixes finished images, so it is the last of its list"},
      {"/stages/0/train/accumulate", "0",
       "/stages/0/train/accumulate: found 0, expected a whole number from 1 to 1000000"},
      {"/stages/2/evaluate", "{\"filp\": true}",
       "/stages/2/evaluate/filp: no such field, did you mean 'flip'?"},
      // Types and ranges.
      {"/stages/0/train/epochs", "-1",
       "/stages/0/train/epochs: found -1, expected a whole number of at least 1"},
      {"/stages/0/train/epochs", "0",
       "/stages/0/train/epochs: found 0, expected a whole number of at least 1"},
      {"/stages/0/train/epochs", "3.5",
       "/stages/0/train/epochs: found 3.5, expected a whole number of at least 1"},
      {"/stages/0/train/epochs", "\"3\"",
       "/stages/0/train/epochs: found the text \"3\", expected a whole number of at least 1"},
      {"/stages/0/train/epochs", "null",
       "/stages/0/train/epochs: found null, expected a whole number of at least 1"},
      {"/stages/0/train/epochs", "1e300",
       "/stages/0/train/epochs: found 1e+300, expected a whole number from 1 to 1000000000"},
      {"/stages/0/train/epochs", "18446744073709551615",
       "/stages/0/train/epochs: found 18446744073709551615, expected a whole number from 1 to 1000000000"},
      {"/stages", "[]", "/stages: found a list of 0, expected a list of at least 1, each an object"},
      {"/stages", "{}", "/stages: found an object, expected a list of at least 1, each an object"},
      {"/stages/0", "3", "/stages/0: found 3, expected an object"},
      {"/model", "\"mlp\"", "/model: found the text \"mlp\", expected an object"},
      {"/seed", "-1", "/seed: found -1, expected a whole number from 0 to 9007199254740991"},
      {"/seed", "9007199254740992",
       "/seed: found 9007199254740992, expected a whole number from 0 to 9007199254740991"},
      {"/data/shuffle", "1", "/data/shuffle: found 1, expected true or false"},
      {"/data/batch", "0", "/data/batch: found 0, expected a whole number of at least 1"},
      {"/data/validation", "1", "/data/validation: found 1, expected a number from 0 to below 1"},
      {"/model/weights", "\"\"", "/model/weights: found the text \"\", expected text"},
      {"/model/weights", "3", "/model/weights: found 3, expected text"},
      {"/model/input", "[28, 28]",
       "/model/input: found a list of 2, expected a list of 3, each a whole number from 1 to 65536"},
      {"/model/input", "[28, 0, 1]", "/model/input/1: found 0, expected a whole number from 1 to 65536"},
      {"/model/width", "0", "/model/width: found 0, expected a number from 0.01 to 100"},
      {"/model/hidden", "[3, [1]]",
       "/model/hidden/1: found a list of 1, expected a whole number from 1 to 1000000"},
      {"/stages/0/train/optimizer/lr", "0",
       "/stages/0/train/optimizer/lr: found 0, expected a number above 0"},
      {"/stages/0/train/optimizer/lr", "1e39",
       "/stages/0/train/optimizer/lr: found 1e+39, expected a number of at most 3.40282e+38"},
      {"/stages/0/train/optimizer/momentum", "1",
       "/stages/0/train/optimizer/momentum: found 1, expected a number from 0 to below 1"},
      {"/stages/0/train/label_smoothing", "1.0",
       "/stages/0/train/label_smoothing: found 1.0, expected a number from 0 to below 1"},
      {"/stages/3/train/optimizer/betas", "[0.9]",
       "/stages/3/train/optimizer/betas: found a list of 1, expected a list of 2, each a number from 0 to "
       "below 1"},
      {"/stages/3/train/optimizer/betas", "[0.9, 1]",
       "/stages/3/train/optimizer/betas/1: found 1, expected a number from 0 to below 1"},
      {"/stages/1/prune/sparsity", "1.5",
       "/stages/1/prune/sparsity: found 1.5, expected a number from 0 to 1"},
      {"/stages/1/prune/sparsity", "-0.1",
       "/stages/1/prune/sparsity: found -0.1, expected a number from 0 to 1"},
      {"/stages/1/prune/include", "[\"\"]", "/stages/1/prune/include/0: found the text \"\", expected text"},
      // Names of things.
      {"/model/type", "\"lenet55\"",
       "/model/type: found the text \"lenet55\", expected one of " + models + ", did you mean 'lenet5'?"},
      {"/model/type", "5", "/model/type: found 5, expected one of " + models},
      {"/model/stem", "\"small\"",
       "/model/stem: is for type resnet18, resnet34, resnet50, resnet101 or resnet152, and the type is mlp"},
      {"/model/batch_norm", "false",
       "/model/batch_norm: is for type vgg11, vgg13, vgg16 or vgg19, and the type is mlp"},
      {"/stages/0/train/optimizer/type", "\"adan\"",
       "/stages/0/train/optimizer/type: found the text \"adan\", expected one of sgd, adam, adamw, did you "
       "mean "
       "'adam'?"},
      {"/stages/0/train/loss", "\"mse\"",
       "/stages/0/train/loss: found the text \"mse\", expected one of cross_entropy"},
      {"/stages/1/prune/unit", "\"channel\"",
       "/stages/1/prune/unit: 'channel' is not built yet, this version has weight, row"},
      {"/stages/1/prune/scope", "\"erk\"",
       "/stages/1/prune/scope: 'erk' is not built yet, this version has layer, global"},
      {"/stages/1/prune/scope", "\"glabal\"",
       "/stages/1/prune/scope: found the text \"glabal\", expected one of layer, global, did you mean "
       "'global'?"},
      // Names of files and folders.
      {"/name", "\"a/b\"",
       "/name: found the text \"a/b\", expected a name of letters, digits, '-', '_' and '.', beginning with "
       "a letter "
       "or digit"},
      {"/name", "\"..\"",
       "/name: found the text \"..\", expected a name of letters, digits, '-', '_' and '.', beginning with a "
       "letter or "
       "digit"},
      {"/stages/1/name", "\"dense\"", "/stages/1/name: \"dense\" is the name of stage 0, too"},
      // Fields that do not go together.
      {"/model", R"({"type": "lenet5", "hidden": [3]})",
       "/model/hidden: is for type mlp, and the type is lenet5"},
      {"/model/pool", "\"max\"",
       "/model/pool: is for type lenet5, vgg11, vgg13, vgg16, vgg19, resnet18, resnet34, resnet50, resnet101 "
       "or resnet152, and the type is mlp"},
      {"/stages/0/train/optimizer/betas", "[0.9, 0.99]",
       "/stages/0/train/optimizer/betas: is for type adam or adamw, and the type is sgd"},
      {"/stages/3/train/optimizer/momentum", "0.9",
       "/stages/3/train/optimizer/momentum: is for type sgd, and the type is adam"},
      {"/stages/0/train/optimizer/nesterov", "true",
       "/stages/0/train/optimizer/nesterov: found true, which needs a momentum above 0"},
      {"/stages/0/train/schedule", R"({"type": "cosine", "gamma": 0.5})",
       "/stages/0/train/schedule/gamma: is for type step or multistep, and the type is cosine"},
      {"/stages/0/train/schedule", R"({"type": "cosine", "min_lr": 0.2})",
       "/stages/0/train/schedule/min_lr: found 0.2, expected at most the optimizer's lr: 0.1"},
      {"/stages/0/train/schedule", R"({"type": "step"})",
       "/stages/0/train/schedule/step_size: missing, expected a whole number of at least 1"},
      {"/stages/0/train/schedule", R"({"type": "warmup"})",
       "/stages/0/train/schedule/warmup_steps: found 0, type warmup needs at least 1"},
      {"/stages/0/train/schedule", R"({"type": "multistep", "milestones": [3, 3]})",
       "/stages/0/train/schedule/milestones: found [3,3], expected each to be above the one before"},
      {"/stages/0/train/schedule", R"({"type": "multistep", "milestones": []})",
       "/stages/0/train/schedule/milestones: found a list of 0, expected a list of at least 1, each a whole "
       "number of "
       "at least 1"},
      {"/stages/0/train/steps", "3",
       "/stages/0/train: found epochs and steps, expected exactly one of epochs, steps"},
      {"/stages/0/train/epochs", "", "/stages/0/train: found none, expected exactly one of epochs, steps"},
      {"/stages/0/prune", R"({"sparsity": 0.5})",
       "/stages/0: found train and prune, expected exactly one of train, prune, evaluate"},
      {"/stages/2/evaluate", "", "/stages/2: found none, expected exactly one of train, prune, evaluate"},
      {"/stages/2/evaluate/batch", "3",
       "/stages/2/evaluate/batch: no such field, known: flip, reestimate_norm"},
      {"/stages/1/prune/quantile", "0.5",
       "/stages/1/prune: found sparsity and quantile, expected exactly one of sparsity, threshold, quantile"},
      {"/stages/1/prune/sparsity", "",
       "/stages/1/prune: found none, expected exactly one of sparsity, threshold, quantile"},
      {"/stages/1/prune/schedule", R"({"type": "one_shot"})",
       "/stages/1/prune/schedule: is for a pruner inside 'train', this one acts at once"},
      {"/stages/3/train/prune/schedule", "",
       "/stages/3/train/prune/schedule: missing, a pruner inside 'train' needs one"},
      {"/stages/3/train/prune/schedule/end", "10",
       "/stages/3/train/prune/schedule/end: found 10, expected more than begin: 10"},
      {"/stages/3/train/prune/schedule/end", "50",
       "/stages/3/train/prune/schedule/end: found 50, but the last of 50 steps is 49"},
      {"/stages/3/train/prune/schedule/every", "0",
       "/stages/3/train/prune/schedule/every: found 0, expected a whole number of at least 1"},
      {"/stages/3/train/prune/schedule", R"({"type": "one_shot", "begin": 50})",
       "/stages/3/train/prune/schedule/begin: found 50, but the last of 50 steps is 49"},
      {"/stages/3/train/prune/schedule", R"({"type": "one_shot", "every": 5})",
       "/stages/3/train/prune/schedule/every: is for type linear or cubic, and the type is one_shot"},
      {"/stages/3/train/prune", R"({"threshold": 0.1, "schedule": {"type": "cubic"}})",
       "/stages/3/train/prune/schedule/type: found \"cubic\", which needs 'sparsity'; 'threshold' and "
       "'quantile' go "
       "with one_shot alone"},
      {"/stages/0/train/early_stop", "{}",
       "/stages/0/train/early_stop: needs images to judge by: /data/validation above 0"},
      {"/data/path", "\"p\"",
       "/data/path: is for type mnist, cifar10, cifar100 or image_folder, and the type is synthetic"},
      {"/data/remap", "true", "/data/remap: is for type cifar10 or cifar100, and the type is synthetic"},
      {"/data", R"({"type": "cifar10", "labels": "fine"})",
       "/data/labels: is for type cifar100, and the type is cifar10"},
      {"/data", R"({"type": "cifar100", "labels": "coarce"})",
       "/data/labels: found the text \"coarce\", expected one of fine, coarse, did you mean 'coarse'?"},
      {"/data", R"({"type": "image_folder"})",
       "/data/path: missing, expected the folder or archive that image_folder reads"},
      {"/data", R"({"type": "cifar10", "skip_corrupt": true})",
       "/data/skip_corrupt: is for type image_folder, and the type is cifar10"},
      {"/data/normalize", R"({"mean": [0.1], "std": [0.1, 0.2]})",
       "/data/normalize/std: found 2 values, expected as many as in 'mean': 1"},
      {"/data/normalize", R"({"mean": [0.1], "std": [0]})",
       "/data/normalize/std/0: found 0, expected a number above 0"},
      {"/data/normalize", R"({"mean": [0.1, 0.1], "std": [0.1, 0.2]})",
       "/data/normalize/mean: found 2 values, expected one per channel of the model's input: 1"},
  };
  for (const Mistake& mistake : mistakes) {
    EXPECT_EQ(refusal(with(mistake.pointer, mistake.value).dump()), "x.json: " + mistake.message)
        << mistake.pointer << " " << mistake.value;
  }
  EXPECT_EQ(refusal("[]"), "x.json: found a list of 0, expected an object");
}

TEST(Config, BothEndsOfSparsityAreAllowed) {
  EXPECT_EQ(parse(with("/stages/1/prune/sparsity", "0")).stages[1].prune->sparsity, 0.0);
  EXPECT_EQ(parse(with("/stages/1/prune/sparsity", "1")).stages[1].prune->sparsity, 1.0);
}

TEST(Config, AFileNameThatIsNoFolderNameIsRefused) {
  EXPECT_TRUE(contains(message_of([] { parse_config(minimal().dump(), "my config.json"); }),
                       "my config.json: /name: found the text \"my config\", expected a name of letters"));
}

TEST(Config, MessagesAreOneShortLine) {
  const std::string message =
      refusal(with("/data/type", '"' + std::string(5000, 'a') + "\\n\\u0000\"").dump());
  EXPECT_LT(message.size(), 300u);
  Json json = minimal();
  json["line\nbreak" + std::string(5000, 'b')] = 1;
  EXPECT_LT(refusal(json.dump()).size(), 300u);
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

TEST(Config, MessagesSayWhatTheCommandLineHasSet) {
  EXPECT_EQ(refusal(minimal().dump(), {"stages.dense.train.epochs=-1"}),
            "x.json: /stages/0/train/epochs: found -1, expected a whole number of at least 1 (set on the "
            "command line)");
  EXPECT_EQ(refusal(minimal().dump(), {"data={\"type\": \"mnits\"}"}),
            "x.json: /data/type: found the text \"mnits\", expected one of mnist, cifar10, cifar100, "
            "image_folder, synthetic, did you mean "
            "'mnist'? (set "
            "on the command line)");
  EXPECT_EQ(refusal(with("/seed", "-1").dump(), {"stages.dense.train.epochs=1"}),
            "x.json: /seed: found -1, expected a whole number from 0 to 9007199254740991");
}

TEST(Config, AFileThatCannotBeReadIsRefused) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "none.json").string();
  EXPECT_THROW(load_config(file), UsageError);
  EXPECT_TRUE(contains(message_of([&] { load_config(file); }), file));
  EXPECT_THROW(load_config(folder.path().string()), UsageError);
}

TEST(Config, HelpTellsEveryField) {
  const std::string help = config_help();
  // Walks the schema: each field has a line of its own that begins with its name, and its help.
  const std::function<void(const Json&)> walk = [&](const Json& schema) {
    if (schema.contains("items")) walk(schema["items"]);
    if (!schema.contains("properties")) return;
    for (const auto& [name, property] : schema["properties"].items()) {
      if (name == "$schema") continue;
      EXPECT_NE(help.find("\n  " + name + " "), std::string::npos) << name;
      EXPECT_NE(help.find(property["description"].get<std::string>()), std::string::npos) << name;
      walk(property);
    }
  };
  walk(config_schema());
  EXPECT_TRUE(contains(help, "  lr            a number above 0; required\n"));
  EXPECT_TRUE(contains(help, "default 0.0 for sgd and adam; default 0.01 for adamw"));
  EXPECT_TRUE(contains(help, "\nstages.N.train.prune.schedule: "));
}

// To write it anew: espalier help schema > configs/schema.json
TEST(Config, CommittedSchemaIsTheDeclared) {
  std::ifstream in(source + "/configs/schema.json");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(text, config_schema().dump(2) + "\n");
}

}  // namespace
}  // namespace espalier

#include "espalier/run/advice.h"

#include <gtest/gtest.h>

#include "run/minimal_config.h"

namespace espalier {
namespace {

// What stands in a field of the minimal config, and what is said of it.
struct Advised {
  const char* pointer;
  const char* value;
  std::vector<std::string> said;
};

/// Of so many batches in an epoch.
std::vector<std::string> said_of(const nlohmann::ordered_json& json, int64_t batches = 100) {
  return advice(parse(json), batches);
}

TEST(Advice, OfWhatPeopleWriteThereIsNone) {
  EXPECT_EQ(said_of(minimal()), std::vector<std::string>{}) << "0.3, then 0.9";
  const Advised cases[] = {
      {"/stages/1/prune/criterion", "\"lamp\"", {}},
      {"/stages/0/train/optimizer", R"({"type": "sgd", "lr": 10})", {}},
      {"/stages/0/train/schedule", R"({"type": "multistep", "milestones": [1, 2]})", {}},
      {"/data/normalize", R"({"mean": [0.1307], "std": [0.3081]})", {}},
      {"/data", R"({"type": "mnist", "path": "fashion", "augment": [{"type": "flip"}]})", {}},
      {"/stages/1/prune", R"({"unit": "row", "sparsity": 0.95})", {}},
      {"/stages/1/prune", R"({"sparsity": 0.95, "include": ["fc1"]})", {}},
      {"/stages/1/prune", R"({"sparsity": 0.95, "remove": true})", {}},
      {"/stages/3/train/regrow", R"({"type": "rigl"})", {}},
      {"/stages/3/train/regrow", R"({"type": "top_kast"})", {}},
      {"/stages/1/prune", R"({"sparsity": 1, "allow_empty": true, "include": ["fc1"], "remove": true})", {}},
  };
  for (const Advised& one : cases) EXPECT_EQ(said_of(with(one.pointer, one.value)), one.said) << one.value;
}

TEST(Advice, OfPlausibleNonsense) {
  const Advised cases[] = {
      {"/stages/1/prune",
       R"({"sparsity": 1, "allow_empty": true, "unit": "row"})",
       {"/stages/1/prune/sparsity: 1 leaves nothing: the network will say the same of every image"}},
      {"/stages/1/prune",
       R"({"quantile": 1})",
       {"/stages/1/prune/quantile: 1 leaves what scores highest, and nothing else"}},
      {"/stages/1/prune/sparsity", "0", {"/stages/1/prune/sparsity: 0 prunes nothing"}},
      {"/stages/3/train",
       R"({"steps": 50, "optimizer": {"type": "adam", "lr": 0.1}, "regrow": {"type": "top_kast"}})",
       {"/stages/3/train/regrow/type: top_kast begins with zeros where an earlier stage has masked weights, "
        "most of which never train: a 'prune' beside it masks them without that"}},
      {"/stages/1/prune",
       R"({"threshold": 0})",
       {"/stages/1/prune/threshold: 0 prunes nothing: no score is below it"}},
      {"/stages/1/prune",
       R"({"quantile": 0})",
       {"/stages/1/prune/quantile: 0 prunes nothing: no score is below the lowest"}},
      {"/stages/1/prune", R"({"unit": "channel", "ratio": 0})", {"/stages/1/prune/ratio: 0 cuts nothing"}},
      {"/stages/1/prune",
       R"({"unit": "channel", "speedup": 1})",
       {"/stages/1/prune/speedup: 1 cuts nothing: it is MACs before over MACs after"}},
      {"/stages/1/prune",
       R"({"criterion": "lamp", "scope": "layer", "sparsity": 0.3})",
       {"/stages/1/prune/criterion: lamp in scope layer prunes what l1 does: it makes layers comparable, "
        "which "
        "only scope global asks for"}},
      {"/stages/0/train/optimizer/lr",
       "11",
       {"/stages/0/train/optimizer/lr: 11 is a rate that hardly anybody uses with sgd: from 1e-06 to 10 are "
        "in "
        "use"}},
      {"/stages/3/train/optimizer/lr",
       "0.2",
       {"/stages/3/train/optimizer/lr: 0.2 is a rate that hardly anybody uses with adam: from 1e-07 to 0.1 "
        "are "
        "in use"}},
      {"/stages/3/train/schedule",
       R"({"type": "onecycle", "max_lr": 3})",
       {"/stages/3/train/schedule/max_lr: 3 is a rate that hardly anybody uses with adam: from 1e-07 to 0.1 "
        "are "
        "in use"}},
      {"/stages/0/train/optimizer/weight_decay",
       "5",
       {"/stages/0/train/optimizer/weight_decay: 5 lets hardly any weight live: up to 1 are in use"}},
      {"/stages/0/train/label_smoothing",
       "0.9",
       {"/stages/0/train/label_smoothing: 0.9 leaves less than half of the target to the label: up to 0.5 "
        "are "
        "in use"}},
      {"/stages/0/train/schedule",
       R"({"type": "step", "step_size": 3})",
       {"/stages/0/train/schedule/step_size: 3: the rate never drops in 3 epochs"}},
      {"/stages/0/train/schedule",
       R"({"type": "multistep", "milestones": [1, 30]})",
       {"/stages/0/train/schedule/milestones: the rate never drops at 30 in 3 epochs"}},
      {"/stages/3/train/schedule",
       R"({"type": "warmup", "warmup_steps": 50})",
       {"/stages/3/train/schedule/warmup_steps: 50: the rate is still climbing when the stage ends, after 50 "
        "steps"}},
      {"/data/normalize",
       R"({"mean": [33.3], "std": [78.6]})",
       {"/data/normalize/mean: above 1: pixels are in 0..1, so numbers that are meant for 0..255 are divided "
        "by "
        "255"}},
      {"/data",
       R"({"type": "image_folder", "path": "pets", "shuffle": false})",
       {"/data/shuffle: false: images come class by class, and a batch would hold images of only one "
        "class"}},
      {"/data",
       R"({"type": "mnist", "augment": [{"type": "crop", "pad": 2}, {"type": "flip"}]})",
       {"/data/augment/1: flip: a digit's mirror image is no digit"}},
      {"/stages/1/prune/sparsity",
       "0.95",
       {"/stages/3/train/prune/sparsity: 0.9 asks for no more than stage 'pruned' has done, whose sparsity "
        "is "
        "0.95: nothing more goes"}},
  };
  for (const Advised& one : cases) {
    std::vector<std::string> expected;
    for (const std::string& text : one.said) expected.push_back("x.json: " + text);
    EXPECT_EQ(said_of(with(one.pointer, one.value)), expected) << one.pointer << " " << one.value;
  }
}

TEST(Advice, OfNewWeights) {
  nlohmann::ordered_json json = minimal();
  json["stages"][1]["prune"] = {{"sparsity", 0}, {"reinitialize", true}};
  EXPECT_EQ(said_of(json), std::vector<std::string>{}) << "a stage trains after it";
  json["stages"].erase(3);
  json["stages"].erase(2);
  EXPECT_EQ(said_of(json), (std::vector<std::string>{
                               "x.json: /stages/1/prune/reinitialize: the run ends with new weights that no "
                               "stage has trained"}));
  json = minimal();
  json["stages"][0]["train"]["regularize"] = {{"type", "l1_proximal"}};
  EXPECT_EQ(said_of(json), std::vector<std::string>{});
  json["stages"][0]["train"]["ema"] = 0.5;
  EXPECT_EQ(said_of(json),
            (std::vector<std::string>{
                "x.json: /stages/0/train/ema: l1_proximal makes weights 0 in some steps and not in "
                "others, and their averages are not 0: little of what it does is left at the "
                "stage's end"}));
}

TEST(Advice, OfRatesOfLayers) {
  EXPECT_EQ(
      said_of(with("/stages/0/train/optimizer/lr_of", R"({"fc1": 1000, "fc2": 0.1})")),
      std::vector<std::string>{"x.json: /stages/0/train/optimizer/lr_of/fc1: 1000 is a rate that hardly "
                               "anybody uses with sgd: from 1e-06 to 10 are in use"});
}

// Steps and epochs are told by the number of batches, whichever of them the stage counts.
TEST(Advice, OfSchedulesBeyondTheirStage) {
  const auto said = [](const char* length, const char* schedule, int64_t batches) {
    nlohmann::ordered_json json = minimal();
    json["stages"][0]["train"] = nlohmann::ordered_json::parse(length);
    json["stages"][0]["train"]["optimizer"] = {{"type", "sgd"}, {"lr", 0.1}};
    json["stages"][0]["train"]["schedule"] = nlohmann::ordered_json::parse(schedule);
    const auto lines = said_of(json, batches);
    return lines.empty() ? "" : lines.front().substr(std::string("x.json: /stages/0/train/schedule/").size());
  };
  const char *two_epochs = R"({"epochs": 2})", *twenty_steps = R"({"steps": 20})";
  const char* five_epochs = R"({"type": "warmup", "warmup_epochs": 5})";
  EXPECT_EQ(said(two_epochs, five_epochs, 10),
            "warmup_epochs: 5: the rate is still climbing when the stage ends, after 20 steps");
  EXPECT_EQ(said(twenty_steps, five_epochs, 4),
            "warmup_epochs: 5: the rate is still climbing when the stage ends, after 20 steps");
  EXPECT_EQ(said(twenty_steps, five_epochs, 3), "");
  const char* many_steps = R"({"type": "cosine", "warmup_steps": 500})";
  EXPECT_EQ(said(two_epochs, many_steps, 10),
            "warmup_steps: 500: the rate is still climbing when the stage ends, after 20 steps");
  EXPECT_EQ(said(two_epochs, many_steps, 251), "");
  const char* drop = R"({"type": "step", "step_size": 1})";
  EXPECT_EQ(said(twenty_steps, drop, 20), "step_size: 1: the rate never drops in 1 epoch");
  EXPECT_EQ(said(twenty_steps, drop, 19), "");
}

TEST(Advice, OfPatienceThatOutlastsTheStage) {
  auto json = with("/stages/0/train/early_stop", R"({"patience": 1})");
  json["data"]["validation"] = 0.1;
  EXPECT_EQ(said_of(json), std::vector<std::string>{});
  json["stages"][0]["train"]["eval_every"] = 2;
  EXPECT_EQ(said_of(json), std::vector<std::string>{"x.json: /stages/0/train/early_stop/patience: 1 of 2 "
                                                    "evaluations: it can never stop early"});
}

TEST(Advice, OfAveragesOverMoreThanTheStage) {
  auto json = with("/stages/0/train/ema", "0.9");  // over 10 steps
  const std::vector<std::string> line{
      "x.json: /stages/0/train/ema: 0.9 averages over about 10 steps, which is much for 28 steps: "
      "evaluations see weights of long before"};
  json["stages"][0]["train"].erase("epochs");
  json["stages"][0]["train"]["steps"] = 28;
  EXPECT_EQ(said_of(json), line);
  json["stages"][0]["train"]["steps"] = 31;
  EXPECT_EQ(said_of(json), std::vector<std::string>{});
}

TEST(Advice, OfTargetsThatAreReachedAlready) {
  auto json = with("/stages/1/prune", R"({"unit": "channel", "macs": 1000})");
  json["stages"][3] = {{"name", "again"}, {"prune", {{"unit", "channel"}, {"macs", 999}}}};
  EXPECT_EQ(said_of(json), std::vector<std::string>{});
  json["stages"][3]["prune"]["macs"] = 2000;
  EXPECT_EQ(said_of(json), std::vector<std::string>{
                               "x.json: /stages/3/prune/macs: 2000 asks for no more than stage 'pruned' has "
                               "done, whose macs is 1000: nothing more goes"});
}

}  // namespace
}  // namespace espalier

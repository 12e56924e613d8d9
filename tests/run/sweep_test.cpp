#include "espalier/run/sweep.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "espalier/config/schema_help.h"
#include "espalier/run/config.h"
#include "espalier/run/measures.h"
#include "espalier/run/recipes.h"
#include "support/bad_input.h"
#include "support/mistakes.h"
#include "support/places.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

Names names_of(const Sweep& sweep) {
  Names names;
  for (const SweepPoint& point : sweep.points) names.push_back(point.name);
  return names;
}

/// Of a sweep of m.json with two seeds and `more`.
Sweep sweep_of(const std::string& more) {
  return parse_sweep(R"({"config": "m.json", "seeds": 2, )" + more + "}", "folder/s.json");
}

TEST(Sweep, IsReadAsWritten) {
  const Sweep sweep = parse_sweep(R"(// of two methods
    {"$schema": "x", "name": "both", "config": "m.json", "seeds": [3, 1],
     "set": {"stages.dense.train.epochs": 2, "stages.old": null},
     "grid": [{"name": "l1"}, {"name": "own", "config": "n.json", "set": {"model.hidden": [3, 4]}},],
     "report": ["error", "dense.best_accuracy", "v1.5.macs"]})",
                                  "folder/s.json");
  EXPECT_EQ(sweep.name, "both");
  EXPECT_EQ(sweep.seeds, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(names_of(sweep), (Names{"l1", "own"}));
  EXPECT_EQ(sweep.points[1].config, "n.json");
  EXPECT_EQ(overrides_of(sweep, sweep.points[1], 7),
            (Names{"stages.dense.train.epochs=2", "stages.old=null", "model.hidden=[3,4]", "seed=7"}));
  EXPECT_EQ(sweep.report[0].stage + "|" + sweep.report[0].measure, "|error");
  EXPECT_EQ(sweep.report[1].stage + "|" + sweep.report[1].measure, "dense|best_accuracy");
  EXPECT_EQ(sweep.report[2].stage + "|" + sweep.report[2].measure, "v1.5|macs");
}

TEST(Sweep, WhatIsNotSaid) {
  const Sweep sweep = parse_sweep(R"({"config": "a/m.json", "seeds": 3})", "folder/s.json");
  EXPECT_EQ(sweep.name, "s");
  EXPECT_EQ(sweep.seeds, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(names_of(sweep), Names{"m"});
  EXPECT_TRUE(sweep.report.empty());
  for (const SweepColumn& column : default_report()) EXPECT_NE(measure_named(column.measure), nullptr);
}

TEST(Sweep, CombinationsAreCalledByWhatTheySet) {
  const Sweep sweep = sweep_of(R"("grid": {"stages.pruned.prune.sparsity": [0.8, 0.95],
                                           "/stages/pruned/prune/criterion": ["l1", "lamp"]})");
  EXPECT_EQ(names_of(sweep), (Names{"sparsity=0.8,criterion=l1", "sparsity=0.8,criterion=lamp",
                                    "sparsity=0.95,criterion=l1", "sparsity=0.95,criterion=lamp"}));
  EXPECT_EQ(overrides_of(sweep, sweep.points[2], 0),
            (Names{"stages.pruned.prune.sparsity=0.95", "/stages/pruned/prune/criterion=\"l1\"", "seed=0"}));
}

TEST(Sweep, ValuesWithoutAPlainNameAreCounted) {
  EXPECT_EQ(names_of(sweep_of(R"("grid": {"model.hidden": [[300, 100], [20], []]})")),
            (Names{"hidden=1", "hidden=2", "hidden=3"}));
  EXPECT_EQ(names_of(sweep_of(R"("grid": {"model.hidden": [[300, 100], [20]]})")),
            (Names{"hidden=300-100", "hidden=20"}));
  EXPECT_EQ(names_of(sweep_of(R"("grid": {"model.weights": ["a/b", "c"], "data.shuffle": [true, null]})")),
            (Names{"weights=1,shuffle=true", "weights=1,shuffle=null", "weights=2,shuffle=true",
                   "weights=2,shuffle=null"}));
  EXPECT_EQ(names_of(sweep_of(R"("grid": {"data.augment": [[{"type": "flip"}], []]})")),
            (Names{"augment=1", "augment=2"}));
}

TEST(Sweep, FieldsOfOneNameAreToldApart) {
  EXPECT_EQ(
      names_of(sweep_of(
          R"("grid": {"stages.dense.train.optimizer.lr": [1], "stages.tuned.train.optimizer.lr": [2]})")),
      Names{"dense.lr=1,tuned.lr=2"});
  EXPECT_EQ(names_of(sweep_of(R"("grid": {"model.type": ["mlp"], "type": ["x"], "seeds of\n": [1]})")),
            Names{"model.type=mlp,config.type=x,seeds_of_=1"});
}

TEST(Sweep, BadInput) {
  const auto refusal = [](const std::string& text) {
    return message_of<UsageError>([&] { parse_sweep(text, "s.json"); });
  };
  const auto of = [&](const std::string& more) {
    return refusal(R"({"config": "m.json", "seeds": 2, )" + more + "}");
  };
  EXPECT_EQ(
      refusal("{"),
      "s.json:1:2: not JSON: the text ends before the JSON does: a bracket, brace or quote is not closed");
  EXPECT_EQ(refusal("[]"), "s.json: found a list of 0, expected an object");
  EXPECT_EQ(refusal(R"({"seeds": 2})"), "s.json: /config: missing, expected the config that is run");
  EXPECT_EQ(refusal(R"({"seeds": 2, "grid": [{"name": "a", "config": "m.json"}, {"name": "b"}]})"),
            "s.json: /config: missing, expected the config that is run; without it each point needs one");
  EXPECT_TRUE(contains(refusal(R"({"config": "m.json"})"),
                       "s.json: /seeds: missing, expected how many, counted from 0, or a list"));
  EXPECT_EQ(refusal(R"({"config": "m.json", "seeds": 0})"),
            "s.json: /seeds: found 0, expected a whole number from 1 to 10000");
  EXPECT_TRUE(contains(refusal(R"({"config": "m.json", "seeds": "all"})"),
                       "s.json: /seeds: found the text \"all\", expected how many"));
  EXPECT_EQ(refusal(R"({"config": "m.json", "seeds": [1, 2, 1]})"),
            "s.json: /seeds/2: found 1, which stands there before");
  EXPECT_TRUE(contains(refusal(R"({"config": "m.json", "seeds": []})"),
                       "s.json: /seeds: found a list of 0, expected a list of 1 to"));
  EXPECT_EQ(of(R"("gird": [])"), "s.json: /gird: no such field, did you mean 'grid'?");
  EXPECT_EQ(of(R"("name": "a b")"),
            "s.json: /name: found the text \"a b\", expected a name of letters, digits, '-', '_' and '.', "
            "beginning with a "
            "letter or digit");
  EXPECT_TRUE(contains(of(R"("grid": [])"),
                       "s.json: /grid: found a list of 0, expected a list of 1 to 10000, each an object"));
  EXPECT_TRUE(contains(of(R"("grid": {})"),
                       "s.json: /grid: found an object, expected a list of points, or an object that gives"));
  EXPECT_EQ(of(R"("grid": {"a.b": 0.5})"),
            "s.json: /grid/a.b: found 0.5, expected a list of at least 1, each a value");
  EXPECT_EQ(of(R"("grid": {"a.b": [0.5, 1, 5e-1]})"),
            "s.json: /grid/a.b/2: found 0.5, which stands there before");
  EXPECT_EQ(of(R"("grid": [{"name": "a"}, {"name": "b"}, {"name": "a"}])"),
            "s.json: /grid/2/name: \"a\" is the name of /grid/0, too");
  EXPECT_EQ(of(R"("grid": [{"nmae": "a"}])"), "s.json: /grid/0/nmae: no such field, did you mean 'name'?");
  EXPECT_EQ(
      of(R"("grid": [{"name": "results.csv"}])"),
      "s.json: /grid/0/name: found \"results.csv\", which is the name of a file beside the points' folders");
  EXPECT_EQ(of(R"("set": [1])"),
            "s.json: /set: found a list of 1, expected an object that gives each path a value");
  EXPECT_EQ(
      of(R"("set": {"a=b": 1})"),
      "s.json: /set/a=b: found the path \"a=b\", expected one as --set takes it: stages.dense.train.epochs");
  EXPECT_TRUE(
      contains(of(R"("report": ["dense.erorr"])"),
               "s.json: /report/0: found the text \"dense.erorr\", expected one of accuracy, error,"));
  EXPECT_TRUE(of(R"("report": ["dense.erorr"])").ends_with(" or STAGE.NAME, did you mean 'error'?"));
}

TEST(Sweep, TooManyPoints) {
  std::string values = "[0";
  for (int i = 1; i < 101; ++i) values += ", " + std::to_string(i);
  values += "]";
  EXPECT_EQ(
      message_of<UsageError>([&] { sweep_of(R"("grid": {"a": )" + values + R"(, "b": )" + values + "}"); }),
      "folder/s.json: /grid: makes more than 10000 points");
  const std::string name(60, 'x');
  EXPECT_TRUE(contains(message_of<UsageError>([&] {
                         sweep_of(R"("grid": {"a)" + name + R"(": [1], "b)" + name + R"(": [1], "c)" + name +
                                  R"(": [1], "d)" + name + R"(": [1]})");
                       }),
                       "/grid: makes names of more than 200 letters, as "));
}

TEST(Sweep, AllMistakesAreToldAtOnce) {
  const auto lines = mistakes_of([] { parse_sweep(R"({"seeds": 0, "gird": 1})", "s.json"); });
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_TRUE(contains(lines[0], "/seeds"));
  EXPECT_TRUE(contains(lines[1], "/gird"));
  EXPECT_EQ(lines[2], "s.json: 2 mistakes");
}

TEST(Sweep, ATextMayNameTheSeed) {
  const Sweep sweep =
      sweep_of(R"("set": {"model.weights": "base/{seed}/{seed}.safetensors", "model.skip": ["{seed}", "fc"]},
                                  "grid": [{"name": "a"}])");
  EXPECT_EQ(overrides_of(sweep, sweep.points[0], 12),
            (Names{"model.weights=\"base/12/12.safetensors\"", "model.skip=[\"12\",\"fc\"]", "seed=12"}));
  EXPECT_TRUE(mentions_seed(sweep, sweep.points[0]));
  const Sweep plain = sweep_of(R"("set": {"model.hidden": [1]})");
  EXPECT_FALSE(mentions_seed(plain, plain.points[0]));
}

class SweepSettings : public testing::Test {
 protected:
  SweepSettings() {
    std::ofstream(folder_ / "m.json")
        << R"({"model": {"type": "mlp"}, "data": {"type": "synthetic"}, "stages": [
      {"name": "dense", "train": {"epochs": 3, "optimizer": {"type": "sgd", "lr": 0.1}}},
      {"name": "pruned", "prune": {"sparsity": 0.3}}]})";
  }

  void check(const std::string& set, const std::string& of_point) const {
    const Sweep sweep = sweep_of("\"set\": " + set + R"(, "grid": [{"name": "a", "set": )" + of_point + "}]");
    check_settings(sweep, sweep.points[0], (folder_ / "m.json").string());
  }
  std::string refusal(const std::string& set, const std::string& of_point = "{}") const {
    return message_of<UsageError>([&] { check(set, of_point); });
  }

  TemporaryFolder folder_;
};

TEST_F(SweepSettings, OneFieldHasOneValue) {
  EXPECT_EQ(refusal(R"({"stages.pruned.prune.sparsity": 0.5})", R"({"stages.pruned.prune.sparsity": 0.9})"),
            "'stages.pruned.prune.sparsity' is set by the sweep and by the point, expected one value for it");
  EXPECT_EQ(refusal(R"({"stages.pruned.prune.sparsity": 0.5, "/stages/1/prune/sparsity": 0.9})"),
            "'stages.pruned.prune.sparsity' and '/stages/1/prune/sparsity' are the same field, expected one "
            "value for it");
  EXPECT_EQ(refusal(R"({"data.batch": 5})", R"({"data.batch": null})"),
            "'data.batch' is set by the sweep and by the point, expected one value for it");
  EXPECT_EQ(refusal(R"({"stages.dense": null})", R"({"stages.0": null})"),
            "'stages.dense' and 'stages.0' are the same field, expected one value for it");
  EXPECT_EQ(
      refusal(R"({"stages.pruned.prune": {"sparsity": 0.5}})", R"({"stages.pruned.prune.criterion": "l1"})"),
      "'stages.pruned.prune' and 'stages.pruned.prune.criterion' are both set, and the one lies in the "
      "other");
  EXPECT_EQ(refusal(R"({"stages.+": {"name": "more", "evaluate": {}}, "stages.more.evaluate.flip": true})"),
            "'stages.+' and 'stages.more.evaluate.flip' are both set, and the one lies in the other");
  EXPECT_EQ(refusal(R"({"/seed": 3})"),
            "'/seed' is what the sweep's seeds say, expected no other value for it");
  EXPECT_EQ(mistakes_of([&] { check(R"({"seed": 3, "data.batch": 5})", R"({"data.batch": 6})"); }).size(),
            3u);
}

TEST_F(SweepSettings, OtherFieldsAreNoneOfIt) {
  check(R"({"stages.dense.train.epochs": 2, "model.hidden": [3]})",
        R"({"stages.pruned.prune.sparsity": 0.9})");
  check(R"({"stages.+": {"name": "more", "evaluate": {}}})",
        R"({"stages.+": {"name": "most", "evaluate": {}}})");
  check(R"({"stages.dense.train.epochs": 2})", R"({"stages.dense": null})");
  check(R"({"stages.dense": null, "stages.pruned.prune.sparsity": 0.4})", "{}");
  check(R"({"no.such.field": 3})", R"({"no.such.field": 3})");  // load_config says it
}

TEST_F(SweepSettings, AConfigIsFoundBesideTheSweep) {
  Sweep sweep = sweep_of(R"("grid": [{"name": "a"}, {"name": "b", "config": "nowhere.json"}])");
  sweep.file = (folder_ / "s.json").string();
  EXPECT_EQ(config_of(sweep, sweep.points[0]), (folder_ / "m.json").string());
  EXPECT_TRUE(contains(message_of<UsageError>([&] { config_of(sweep, sweep.points[1]); }),
                       "nowhere.json: cannot open"));
}

TEST(Sweep, HelpTellsEveryField) {
  std::string help;
  for (const schema::Section& section : schema::sections(sweep_description()))
    help += schema::section_text(section, 10'000);
  for (const char* name : {"name", "config", "seeds", "set", "grid", "report"})
    EXPECT_TRUE(contains(help, std::string("\n  ") + name + " ") ||
                help.starts_with(std::string("  ") + name + " "))
        << name;
  EXPECT_TRUE(contains(help, "grid.N: "));
}

TEST(Sweep, CommittedSweepsAreSoundInEachOfTheirPoints) {
  size_t points = 0;
  for (const auto& entry : fs::directory_iterator(source_folder() + "/configs/sweeps")) {
    const Sweep sweep = load_sweep(entry.path().string());
    for (const SweepPoint& point : sweep.points) {
      const std::string config = config_of(sweep, point);
      check_settings(sweep, point, config);
      EXPECT_EQ(load_config(config, overrides_of(sweep, point, 4)).seed, 4) << entry.path();
      ++points;
    }
  }
  EXPECT_GE(points, 3u);
}

}  // namespace
}  // namespace espalier

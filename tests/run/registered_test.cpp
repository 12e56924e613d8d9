// A data set and a model that a program adds, with options of their own, from the config to the run's files.
#include <gtest/gtest.h>

#include <fstream>

#include "espalier/config/schema_help.h"
#include "espalier/run/build.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/config.h"
#include "espalier/run/run.h"
#include "espalier/train/evaluate.h"
#include "espalier/util/input_file.h"
#include "espalier/util/spelling.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

DataSplits load_columns(const DatasetRequest& wanted) {
  const auto key = static_cast<uint64_t>(wanted.extra.whole("columns_key"));
  DataSplits data{columns(wanted.extra.flag("few") ? 40 : 400, key), {}, columns(40, key + 10)};
  data.train.name = "columns train";
  return data;
}

std::unique_ptr<Module> make_funnel(const ModelOptions& o, Activation f) {
  std::vector<LayerSpec> layers{{.type = "flatten"},
                                {.type = "linear", .name = "in", .outputs = o.extra.whole("units")},
                                {.type = "activation"},
                                {.type = "linear", .name = "out"}};
  LayerContext context{.classes = o.classes, .width = o.width, .activation = f};
  return std::make_unique<Sequential>(layers, o.input, context, "model: funnel");
}

/// Once in this process.
class Registered : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (datasets().find("columns")) return;
    config_description();  // has been made when they come
    datasets().add(
        {.name = "columns",
         .help = "bright columns",
         .extra = {{.name = "columns_key", .help = "of what is drawn", .value = int64_t{1}, .from = 0},
                   {.name = "few", .help = "few to train on", .value = false}},
         .keeps_class_names = false,
         .load = load_columns});
    datasets().add({.name = "lines",
                    .help = "in files",
                    .options = {"root", "path", "remap"},
                    .extra = {{.name = "few", .help = "few to train on", .value = true}},
                    .load = load_columns});
    models().add(
        {.name = "funnel",
         .help = "two linear layers",
         .input = {4, 4, 1},
         .classes = 4,
         .extra = {{.name = "units", .help = "hidden ones", .value = int64_t{6}, .from = 1, .to = 99},
                   {.name = "note", .help = "said by nobody", .value = std::string("none")}},
         .make = make_funnel});
  }
};

Json whole(const std::string& model, const std::string& data) {
  return Json::parse(R"({"name": "own", "model": {"type": "funnel")" + model +
                     R"(}, "data": {"type": "columns", "batch": 40)" + data +
                     R"(}, "stages": [{"name": "dense", "train": {"epochs": 20,
                         "optimizer": {"type": "adam", "lr": 0.02}}}]})");
}
Config read(const Json& json) { return parse_config(json.dump(), "own.json"); }

TEST_F(Registered, TheirOptionsAreFieldsWithDefaults) {
  const Config plain = read(whole("", "")), given = read(whole(R"(, "units": 9)", R"(, "few": true)"));
  EXPECT_EQ(plain.model.extra.whole("units"), 6);
  EXPECT_EQ(plain.data.extra.flag("few"), false);
  EXPECT_EQ(plain.model.input, (Shape{4, 4, 1}));
  EXPECT_EQ(plain.data.validation, 0.0);
  EXPECT_EQ(given.model.extra.whole("units"), 9);
  EXPECT_EQ(given.data.extra.flag("few"), true);
  const Json resolved = config_json(given);
  EXPECT_EQ(resolved["model"]["units"], 9);
  EXPECT_EQ(resolved["model"]["note"], "none");
  EXPECT_EQ(resolved["data"]["few"], true);
  EXPECT_EQ(config_json(read(resolved)), resolved);
  EXPECT_FALSE(config_json(read(whole(R"(, "type": "mlp")", "")))["model"].contains("units"));
}

TEST_F(Registered, WhatIsWrongInAConfigIsSaid) {
  const auto refusal = [](const Json& json) { return message_of([&] { read(json); }); };
  EXPECT_EQ(refusal(whole(R"(, "units": 0)", "")),
            "own.json: /model/units: found 0, expected a whole number from 1 to 99");
  EXPECT_EQ(refusal(whole(R"(, "unitz": 3)", "")),
            "own.json: /model/unitz: no such field, did you mean 'units'?");
  EXPECT_EQ(refusal(whole(R"(, "note": 3)", "")), "own.json: /model/note: found 3, expected text");
  EXPECT_EQ(refusal(whole("", R"(, "few": 1)")), "own.json: /data/few: found 1, expected true or false");
  EXPECT_EQ(refusal(whole(R"(, "type": "mlp", "units": 3)", "")),
            "own.json: /model/units: is for type funnel, and the type is mlp");
  EXPECT_EQ(refusal(whole("", R"(, "type": "synthetic", "few": true)")),
            "own.json: /data/few: is for type columns or lines, and the type is synthetic");
  EXPECT_EQ(refusal(whole("", R"(, "path": "p")")), "own.json: /data/path: is for type " +
                                                        enumerated(datasets().names_with("path"), " or ") +
                                                        ", and the type is columns");
  EXPECT_EQ(refusal(whole("", R"(, "type": "lines")")),
            "own.json: /data/path: missing, expected the folder that lines reads");
  EXPECT_EQ(refusal(whole("", R"(, "type": "colums")")),
            "own.json: /data/type: found the text \"colums\", expected one of " +
                enumerated(datasets().names()) + ", did you mean 'columns'?");
}

TEST_F(Registered, HelpAndSchemaHaveThem) {
  const std::string help = schema::help_on("units", config_description(), 100);
  EXPECT_TRUE(contains(help, "hidden ones")) << help;
  EXPECT_TRUE(contains(schema::help_on("columns", config_description(), 100), "columns_key"));
  const Json schema = config_schema(), data = schema["properties"]["data"];
  EXPECT_EQ(schema["properties"]["model"]["properties"]["type"]["enum"], models().names());
  EXPECT_EQ(data["properties"]["type"]["enum"], datasets().names());
  EXPECT_EQ(data["properties"]["columns_key"]["minimum"], 0);
  EXPECT_EQ(data["dependentSchemas"]["few"]["properties"]["type"]["enum"], (Json{"columns", "lines"}));
  EXPECT_TRUE(contains(data["properties"]["path"]["description"], "not for mnist or lines"));
}

TEST_F(Registered, DataAreReadAsTheConfigSays) {
  Config config = read(whole("", R"(, "columns_key": 5, "few": true, "validation": 0.25)"));
  EXPECT_EQ(config.model.classes, 0) << "the data set does not say";
  take_classes(config, {});
  EXPECT_EQ(config.model.classes, 4);
  EXPECT_EQ(data_place(config, {}), "columns");
  const DataSplits data = build_data(config, {});
  EXPECT_EQ(data.train.size() + data.validation.size(), 40);
  EXPECT_EQ(data.test.labels, columns(40, 15).labels);
  EXPECT_TRUE(kept_class_names(config, data.train).empty());
  config.model.input = {8, 8, 1};
  EXPECT_EQ(message_of([&] { build_data(config, {}); }),
            "own.json: /model/input: found [8, 8, 1], but images of columns train have shape [4, 4, 1]");
  config.data.type = "lines";
  config.data.path = "p";
  EXPECT_EQ(data_place(config, "root"), "root/p");
}

TEST_F(Registered, ARunsFilesRebuildTheModel) {
  const TemporaryFolder folder;
  const std::string output = (folder.path() / "run").string();
  Config config = read(whole(R"(, "units": 9)", ""));
  Console console(true);
  const RunResult result = run(config, {.output = output, .data = {}}, console);
  EXPECT_GT(result.stages[0].accuracy, 60.0);
  EXPECT_EQ(Json::parse(read_file(output + "/config.json"))["model"]["units"], 9);
  const Dataset images = columns(40, 11);
  for (const char* file : {"/checkpoint.safetensors", "/models/dense.safetensors"}) {
    const OpenedCheckpoint opened = open_checkpoint(output + file);
    EXPECT_EQ(opened.info.config.model.extra.whole("units"), 9) << file;
    EXPECT_EQ(opened.info.config.data.extra.whole("columns_key"), 1) << file;
    EXPECT_EQ(opened.model->find("in.weight")->shape(), (Shape{9, 16})) << file;
    Loader test = evaluation_loader(opened.info.config, images);
    EXPECT_NEAR(evaluate(*opened.model, test).accuracy, result.stages[0].accuracy, 1e-9) << file;
  }
  // A config that leaves the network to the weights.
  Json again = whole("", "");
  again["model"] = {{"weights", output + "/models/dense.safetensors"}};
  std::ofstream(folder / "again.json") << again.dump();
  EXPECT_EQ(load_config(folder / "again.json").model.extra.whole("units"), 9);
}

}  // namespace
}  // namespace espalier

// What is written: resolved configs, which read back to the same, help and schema.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "espalier/config/schema_help.h"
#include "espalier/run/config.h"
#include "run/minimal_config.h"
#include "support/bad_input.h"
#include "support/places.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

const std::string source = source_folder();

std::vector<std::string> committed_configs() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(source + "/configs")) {
    if (entry.path().extension() == ".json" && entry.path().filename() != "schema.json")
      files.push_back(entry.path().string());
  }
  return files;
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

TEST(Config, ResolvedHoldsWhatAppliesInDeclaredOrder) {
  const Json resolved = config_json(parse(minimal()));
  EXPECT_EQ(resolved["stages"][0]["train"]["optimizer"].dump(),
            R"({"type":"sgd","lr":0.1,"momentum":0.0,"nesterov":false,"weight_decay":0.0,"clip_norm":0.0})");
  EXPECT_EQ(resolved["stages"][3]["train"]["prune"]["schedule"].dump(),
            R"({"type":"cubic","in":"steps","begin":10,"end":40,"every":5})");
  EXPECT_EQ(resolved["stages"][2].dump(),
            R"({"name":"measured","evaluate":{"flip":false,"reestimate_norm":0}})");
  EXPECT_EQ(
      resolved["model"].dump(),
      R"({"type":"mlp","input":[28,28,1],"classes":10,"hidden":[256,128],"width":1.0,"activation":"relu","init":"pytorch"})");
}

// Whether anything is held out is the folder's to say, unless the config does.
TEST(Config, AbsentValidationStaysAbsentForImageFoldersAlone) {
  EXPECT_EQ(config_json(parse(minimal()))["data"]["validation"], 0.0);
  const auto resolved = [](const std::string& validation) {
    return config_json(
        parse(with("/data", R"({"type": "image_folder", "path": "p")" + validation + "}")))["data"];
  };
  EXPECT_FALSE(resolved("").contains("validation"));
  EXPECT_EQ(resolved(R"(, "validation": 0)")["validation"], 0.0);
}

TEST(Config, HelpTellsEveryField) {
  std::string help;
  for (const schema::Section& section : schema::sections(config_description()))
    help += schema::section_text(section, 10'000);
  // Walks the schema: each field has a line of its own that begins with its name and its help.
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
  EXPECT_TRUE(contains(help, "stages.N.train.prune.schedule: "));
}

}  // namespace
}  // namespace espalier

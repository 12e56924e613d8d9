// What a config may say of a teacher.
#include <gtest/gtest.h>

#include "run/minimal_config.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

/// The minimal config, whose stages are dense, pruned, measured and gradual, with a teacher in one of them.
Json distilling(size_t stage, const std::string& distill) {
  return with(join("/stages/", stage, "/train/distill"), distill);
}

std::string refusal(size_t stage, const std::string& distill,
                    const std::vector<std::string>& overrides = {}) {
  return message_of<UsageError>([&] { parse(distilling(stage, distill), overrides); });
}

TEST(ConfigOfATeacher, IsReadAndWritten) {
  const Config config = parse(distilling(3, R"({"teacher_stage": "pruned", "weight": 0.5})"));
  const DistillConfig& distill = config.stages[3].train->distill.value();
  EXPECT_EQ(distill.teacher_stage, "pruned");
  EXPECT_FALSE(distill.teacher);
  EXPECT_EQ(distill.temperature, 4);
  EXPECT_EQ(distill.weight, 0.5);
  const Json written = config_json(config)["stages"][3]["train"]["distill"];
  EXPECT_EQ(written.dump(), R"({"teacher_stage":"pruned","temperature":4.0,"weight":0.5,"features":[]})");
  EXPECT_EQ(config_json(parse(config_json(config))).dump(), config_json(config).dump());
  EXPECT_FALSE(config_json(parse(minimal()))["stages"][3]["train"].contains("distill"));
  EXPECT_EQ(parse(distilling(0, R"({"teacher": "a.safetensors"})")).stages[0].train->distill->teacher,
            "a.safetensors");
}

TEST(ConfigOfATeacher, MistakesAreNamed) {
  const std::string at = "x.json: /stages/3/train/distill";
  EXPECT_EQ(refusal(3, "{}"), at + ": found none, expected exactly one of teacher, teacher_stage");
  EXPECT_TRUE(contains(refusal(3, R"({"teacher": "a", "teacher_stage": "dense"})"),
                       "expected exactly one of teacher, teacher_stage"));
  EXPECT_EQ(refusal(3, R"({"teacher": "a", "temperature": 0})"),
            at + "/temperature: found 0, expected a number above 0");
  EXPECT_EQ(refusal(3, R"({"teacher": "a", "weight": 1.5})"),
            at + "/weight: found 1.5, expected a number from 0 to 1");
  EXPECT_EQ(refusal(3, R"({"teacher": "a", "wieght": 1})"),
            at + "/wieght: no such field, did you mean 'weight'?");
}

TEST(ConfigOfATeacher, FeaturesAreLayersByOneName) {
  const Config config = parse(distilling(
      3,
      R"({"teacher_stage": "dense", "features": [{"student": "fc1"}, {"student": "fc1", "teacher": "fc2", "weight": 3}]})"));
  const auto& features = config.stages[3].train->distill->features;
  ASSERT_EQ(features.size(), 2u);
  EXPECT_FALSE(features[0].teacher);
  EXPECT_EQ(features[0].weight, 1);
  EXPECT_EQ(features[1].teacher, "fc2");
  EXPECT_EQ(config_json(config)["stages"][3]["train"]["distill"]["features"].dump(),
            R"([{"student":"fc1","weight":1.0},{"student":"fc1","teacher":"fc2","weight":3.0}])");
  const std::string at = "x.json: /stages/3/train/distill/features/0";
  const auto of = [](const std::string& feature) {
    return refusal(3, R"({"teacher": "a", "features": [)" + feature + "]}");
  };
  EXPECT_EQ(of("{}"), at + "/student: missing, expected text");
  EXPECT_EQ(of(R"({"student": "fc1", "weight": 0})"), at + "/weight: found 0, expected a number above 0");
  EXPECT_EQ(of(R"({"student": "fc*"})"),
            at + "/student: found the text \"fc*\", expected one name, without * and ?");
  EXPECT_EQ(of(R"({"student": "fc1", "teacher": "f?"})"),
            at + "/teacher: found the text \"f?\", expected one name, without * and ?");
}

TEST(ConfigOfATeacher, AStageThatIsOneComesBefore) {
  const std::string at = "x.json: /stages/3/train/distill/teacher_stage: found ";
  EXPECT_EQ(refusal(3, R"({"teacher_stage": "dens"})"),
            at + "the text \"dens\", expected an earlier stage, did you mean 'dense'?");
  EXPECT_EQ(refusal(3, R"({"teacher_stage": "zebra"})"),
            at + "the text \"zebra\", expected an earlier stage, known: dense, pruned, measured");
  EXPECT_EQ(refusal(3, R"({"teacher_stage": "gradual"})"),
            at + "\"gradual\", which is this stage itself, expected an earlier stage, known: dense, pruned, "
                 "measured");
  const std::string first = "x.json: /stages/0/train/distill/teacher_stage: found ";
  EXPECT_EQ(refusal(0, R"({"teacher_stage": "gradual"})"),
            first + "\"gradual\", which comes later, expected an earlier stage, and there is none");
  EXPECT_TRUE(contains(refusal(3, R"({"teacher_stage": "dense"})", {"stages.dense=null"}),
                       "found the text \"dense\", expected an earlier stage, known: pruned, measured"))
      << "taken away by --set";
}

}  // namespace
}  // namespace espalier

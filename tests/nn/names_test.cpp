#include "espalier/nn/names.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"
#include "support/mistakes.h"

namespace espalier {
namespace {

const std::vector<std::string> vgg = {"features.0",  "features.3",  "features.30",
                                      "features.33", "features.36", "classifier"};

std::vector<std::string> meant(const std::string& entry, const std::vector<std::string>& layers = vgg) {
  std::vector<std::string> found;
  for (const std::string& layer : layers)
    if (means_layer(entry, layer)) found.push_back(layer);
  return found;
}
using Names = std::vector<std::string>;

TEST(LayerEntry, IsALayersNameOrThatOfWhatItLiesUnder) {
  EXPECT_EQ(meant("features.3"), (Names{"features.3"}));
  EXPECT_EQ(meant("features"),
            (Names{"features.0", "features.3", "features.30", "features.33", "features.36"}));
  EXPECT_EQ(meant("feature"), Names{});
  EXPECT_EQ(meant("features."), Names{});
  EXPECT_EQ(meant("3"), Names{});
  EXPECT_EQ(meant(""), Names{});
  const Names resnet = {"conv1", "layer1.1.conv1", "layer1.10.conv1", "layer10.1.conv1"};
  EXPECT_EQ(meant("layer1.1", resnet), (Names{"layer1.1.conv1"}));
  EXPECT_EQ(meant("layer1", resnet), (Names{"layer1.1.conv1", "layer1.10.conv1"}));
  EXPECT_EQ(meant("conv1", resnet), (Names{"conv1"}));
}

TEST(LayerEntry, AStarIsAnyCharactersAndAQuestionMarkOne) {
  EXPECT_EQ(meant("features.3*"), (Names{"features.3", "features.30", "features.33", "features.36"}));
  EXPECT_EQ(meant("features.3?"), (Names{"features.30", "features.33", "features.36"}));
  EXPECT_EQ(meant("*.3"), (Names{"features.3"}));
  EXPECT_EQ(meant("*"), vgg);
  EXPECT_EQ(meant("*3*6*"), (Names{"features.36"}));
  EXPECT_EQ(meant("f*s"), (Names{"features.0", "features.3", "features.30", "features.33", "features.36"}))
      << "what lies under it, too";
  EXPECT_EQ(meant("??????"), Names{});
  const Names resnet = {"conv1", "layer1.1.conv1", "layer1.10.conv1", "layer2.1.conv12"};
  EXPECT_EQ(meant("layer1.*conv1", resnet), (Names{"layer1.1.conv1", "layer1.10.conv1"})) << "over dots";
  EXPECT_EQ(meant("*1*1*1*12", resnet), Names{});
  EXPECT_EQ(meant("*1*12", resnet), (Names{"layer2.1.conv12"}));
  EXPECT_EQ(meant("layer?.1", resnet), (Names{"layer1.1.conv1", "layer2.1.conv12"}));
}

TEST(LayerEntry, OneThatMeansNoneIsAnError) {
  const auto message = [](const std::string& entry) {
    return message_of([&] { check_layer_entries("prune: include", {"classifier", entry}, vgg); });
  };
  EXPECT_EQ(message("clasifier"),
            "prune: include 'clasifier' names no convolution or linear layer, known: classifier, features, "
            "did you mean 'classifier'?");
  EXPECT_EQ(message("features.1*"),
            "prune: include 'features.1*' names no convolution or linear layer, known: classifier, features, "
            "did you mean 'features'?");
  EXPECT_EQ(message("feat"),
            "prune: include 'feat' names no convolution or linear layer; 'feat*' means those whose names "
            "begin with it");
  EXPECT_EQ(
      message("features.3."),
      "prune: include 'features.3.' names no convolution or linear layer; 'features.3' means that of this "
      "name or what lies under it, and no other whose name begins so");
  EXPECT_EQ(message_of([&] { check_layer_entries("train: freeze", {"feature"}, {"features.1"}, "layer"); }),
            "train: freeze 'feature' names no layer; 'feature*' means those whose names begin with it");
  EXPECT_EQ(message(""),
            "prune: include '' names no convolution or linear layer, known: classifier, features");
}

TEST(LayerEntry, AllThatMeanNoneAreTold) {
  const auto check = [](const Names& include, const Names& exclude) {
    check_layer_lists({{"include", include}, {"exclude", exclude}}, vgg);
  };
  EXPECT_NO_THROW(check({"features"}, {"classifier"}));
  EXPECT_EQ(
      mistakes_of([&] {
        check({"classifier", "clasifier"}, {"features.0", "", "feat"});
      }),
      (Names{"include 'clasifier' names no convolution or linear layer, known: classifier, features, did "
             "you mean 'classifier'?",
             "exclude '' names no convolution or linear layer, known: classifier, features",
             "exclude 'feat' names no convolution or linear layer; 'feat*' means those whose names begin "
             "with it",
             "names of layers: 3 mistakes"}));
}

TEST(LayerEntry, ThatMeantMoreAsABeginningIsToldSo) {
  EXPECT_EQ(notes_on_beginnings("prune: exclude", {"features.3", "features", "features.3*"}, vgg),
            (Names{"prune: exclude 'features.3' does not mean features.30, features.33, features.36, as it "
                   "once did: 'features.3*' means all that begin with it"}));
  Names many = {"fc1"};
  for (int i = 10; i < 17; ++i) many.push_back("fc" + std::to_string(i));
  EXPECT_EQ(notes_on_beginnings("layers", {"fc1"}, many),
            (Names{"layers 'fc1' does not mean fc10, fc11, fc12, fc13 and 3 more, as it once did: 'fc1*' "
                   "means all that begin with it"}));
}

}  // namespace
}  // namespace espalier

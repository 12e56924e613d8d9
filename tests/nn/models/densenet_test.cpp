#include <gtest/gtest.h>

#include "nn/models/support.h"
#include "support/numbers.h"

namespace espalier {
namespace {

TEST(DenseNet121, HasThePublishedDepth) {
  int64_t layers = 0;
  for (const std::string& name : layer_names(small("densenet121")))
    layers += name.find("norm") == std::string::npos;
  EXPECT_EQ(layers, 121);
}

TEST(DenseNet121, TheStemIsSmallForSmallImagesUnlessTold) {
  ModelOptions options = small("densenet121");
  const auto after = [&](int64_t height, int64_t width, std::optional<std::string> stem) {
    options.input = {height, width, 3};
    options.stem = std::move(stem);
    return std::pair(shape_behind(options, "features.denseblock1.denselayer1.norm1"),
                     shape_behind(options, "features.norm5"));
  };
  EXPECT_EQ(after(63, 80, {}), std::pair(Shape({1, 63, 80, 6}), Shape({1, 7, 10, 96})));
  EXPECT_EQ(after(64, 80, {}), std::pair(Shape({1, 16, 20, 6}), Shape({1, 2, 2, 96})));
  EXPECT_EQ(after(32, 32, "imagenet"), std::pair(Shape({1, 8, 8, 6}), Shape({1, 1, 1, 96})));
}

TEST(DenseNet121, BadOptions) {
  ModelOptions options = small("densenet121");
  options.input = {7, 8, 3};
  EXPECT_EQ(refusal(options), "model: densenet121 needs an input of at least 8x8 pixels, found 7x8");
  options.input = {28, 29, 3};
  options.stem = "imagenet";
  EXPECT_EQ(refusal(options), "model: densenet121 needs an input of at least 29x29 pixels, found 28x29");
  options.input = {29, 29, 3};
  EXPECT_EQ(refusal(options), "accepted");
}

}  // namespace
}  // namespace espalier

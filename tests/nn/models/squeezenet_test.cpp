#include <gtest/gtest.h>

#include "nn/models/support.h"
#include "support/numbers.h"

namespace espalier {
namespace {

TEST(SqueezeNet, Layers) {
  const Names names = layer_names(small("squeezenet"));
  EXPECT_EQ(Names(names.begin(), names.begin() + 4),
            (Names{"features.0", "features.3.squeeze", "features.3.expand1x1", "features.3.expand3x3"}));
  EXPECT_EQ(names.size(), 26u);
  EXPECT_EQ(names[names.size() - 2], "features.12.expand3x3");
  EXPECT_EQ(names.back(), "classifier.1");
}

TEST(SqueezeNet, TheStemIsSmallForSmallImagesUnlessTold) {
  ModelOptions options = small("squeezenet");
  const auto after = [&](int64_t height, int64_t width, std::optional<std::string> stem) {
    options.input = {height, width, 3};
    options.stem = std::move(stem);
    return std::pair(shape_behind(options, "features.3.squeeze"), shape_behind(options, "classifier.1"));
  };
  EXPECT_EQ(after(63, 80, {}), std::pair(Shape({1, 61, 78, 6}), Shape({1, 15, 19, 52})));
  EXPECT_EQ(after(224, 224, {}), std::pair(Shape({1, 55, 55, 6}), Shape({1, 13, 13, 52})));
  EXPECT_EQ(after(32, 32, "imagenet"), std::pair(Shape({1, 7, 7, 6}), Shape({1, 1, 1, 52})));
}

TEST(SqueezeNet, BadOptions) {
  ModelOptions options = small("squeezenet");
  options.input = {2, 8, 3};
  EXPECT_EQ(refusal(options), "model: squeezenet needs an input of at least 3x3 pixels, found 2x8");
}

}  // namespace
}  // namespace espalier

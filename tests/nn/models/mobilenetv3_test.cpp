#include <gtest/gtest.h>

#include "nn/models/support.h"
#include "support/numbers.h"

namespace espalier {
namespace {

TEST(MobileNetV3Small, Layers) {
  const Names names = layer_names(small("mobilenetv3_small"));
  EXPECT_EQ(Names(names.begin(), names.begin() + 8),
            (Names{"features.0.0", "features.0.1", "features.1.block.0.0", "features.1.block.0.1",
                   "features.1.block.1.fc1", "features.1.block.1.fc2", "features.1.block.2.0",
                   "features.1.block.2.1"}));
  EXPECT_EQ(Names(names.end() - 4, names.end()),
            (Names{"features.12.0", "features.12.1", "classifier.0", "classifier.3"}));
}

TEST(MobileNetV3Small, TheStemIsSmallForSmallImagesUnlessTold) {
  ModelOptions options = small("mobilenetv3_small");
  const auto after = [&](int64_t height, int64_t width, std::optional<std::string> stem) {
    options.input = {height, width, 3};
    options.stem = std::move(stem);
    return std::pair(shape_behind(options, "features.2.block.0.0"), shape_behind(options, "features.12.0"));
  };
  EXPECT_EQ(after(63, 80, {}), std::pair(Shape({1, 63, 80, 2}), Shape({1, 8, 10, 10})));
  EXPECT_EQ(after(64, 80, {}), std::pair(Shape({1, 16, 20, 2}), Shape({1, 2, 3, 10})));
  EXPECT_EQ(after(32, 32, "imagenet"), std::pair(Shape({1, 8, 8, 2}), Shape({1, 1, 1, 10})));
  EXPECT_EQ(after(64, 64, "small"), std::pair(Shape({1, 64, 64, 2}), Shape({1, 8, 8, 10})));
}

/// Counted by hooks over torchvision's mobilenet_v3_large.
TEST(MobileNetV3Large, HasTorchvisionsParametersAndMultiplyAccumulates) {
  const NetworkTotals totals =
      network({.type = "mobilenetv3_large", .input = {224, 224, 3}, .classes = 1000}).totals;
  EXPECT_EQ(totals.parameters, 5483032);
  EXPECT_EQ(totals.macs, 216589760);
}

TEST(MobileNetV3Large, TheStemIsSmallForSmallImages) {
  ModelOptions options = small("mobilenetv3_large");
  const Names names = layer_names(options);
  EXPECT_EQ(Names(names.end() - 4, names.end()),
            (Names{"features.16.0", "features.16.1", "classifier.0", "classifier.3"}));
  options.input = {32, 32, 3};
  EXPECT_EQ(shape_behind(options, "features.3.block.0.0"), Shape({1, 32, 32, 2}));
  EXPECT_EQ(shape_behind(options, "features.16.0"), Shape({1, 4, 4, 16}));
  options.input = {224, 224, 3};
  EXPECT_EQ(shape_behind(options, "features.16.0"), Shape({1, 7, 7, 16}));
}

TEST(MobileNetV3Small, AnySizeOfImage) {
  for (const char* stem : {"small", "imagenet"}) {
    ModelOptions options = small("mobilenetv3_small");
    options.input = {1, 3, 5};
    options.stem = stem;
    EXPECT_EQ((*make_model(options, 0))(Variable(random_tensor({4, 1, 3, 5}, 1))).shape(), (Shape{4, 7}));
  }
}

}  // namespace
}  // namespace espalier

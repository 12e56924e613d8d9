#include <gtest/gtest.h>

#include "nn/models/support.h"
#include "support/numbers.h"

namespace espalier {
namespace {

TEST(MobileNetV2, Layers) {
  const Names names = layer_names(small("mobilenetv2"));
  EXPECT_EQ(Names(names.begin(), names.begin() + 12),
            (Names{"features.0.0", "features.0.1", "features.1.conv.0.0", "features.1.conv.0.1",
                   "features.1.conv.1", "features.1.conv.2", "features.2.conv.0.0", "features.2.conv.0.1",
                   "features.2.conv.1.0", "features.2.conv.1.1", "features.2.conv.2", "features.2.conv.3"}));
  EXPECT_EQ(Names(names.end() - 3, names.end()), (Names{"features.18.0", "features.18.1", "classifier.1"}));
}

TEST(MobileNetV2, TheStemIsSmallForSmallImagesUnlessTold) {
  ModelOptions options = small("mobilenetv2");
  const auto after = [&](int64_t height, int64_t width, std::optional<std::string> stem) {
    options.input = {height, width, 3};
    options.stem = std::move(stem);
    return std::pair(shape_behind(options, "features.2.conv.0.0"), shape_behind(options, "features.18.0"));
  };
  EXPECT_EQ(after(63, 80, {}), std::pair(Shape({1, 63, 80, 2}), Shape({1, 8, 10, 32})));
  EXPECT_EQ(after(64, 80, {}), std::pair(Shape({1, 32, 40, 2}), Shape({1, 2, 3, 32})));
  EXPECT_EQ(after(32, 32, "imagenet"), std::pair(Shape({1, 16, 16, 2}), Shape({1, 1, 1, 32})));
  EXPECT_EQ(after(64, 64, "small"), std::pair(Shape({1, 64, 64, 2}), Shape({1, 8, 8, 32})));
}

TEST(MobileNetV2, BadOptions) {
  ModelOptions options = small("mobilenetv2");
  options.activation = "gelu";
  EXPECT_EQ(refusal(options), "model: mobilenetv2 has activations of its own, but found 'gelu'");
  EXPECT_EQ(refusal(small("mobilenetv1")), "model: no type 'mobilenetv1', did you mean 'mobilenetv2'?");
}

TEST(MobileNetV2, AnySizeOfImage) {
  for (const char* stem : {"small", "imagenet"}) {
    ModelOptions options = small("mobilenetv2");
    options.input = {1, 3, 5};
    options.stem = stem;
    EXPECT_EQ((*make_model(options, 0))(Variable(random_tensor({4, 1, 3, 5}, 1))).shape(), (Shape{4, 7}));
  }
}

}  // namespace
}  // namespace espalier

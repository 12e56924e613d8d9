#include "espalier/data/image_conversions.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

std::string line(const Image& image, const PixelOptions& options, bool may_blend = true) {
  const Conversion done[] = {conversion_of(image)};
  return conversions_line(done, options, may_blend);
}

TEST(Conversions, AreSaidForWhatTheModelTakes) {
  const PixelOptions colour{.height = 1, .width = 1, .channels = 3},
      grey{.height = 1, .width = 1, .channels = 1};
  EXPECT_EQ(line({.channels = 3, .pixels = {}}, colour), "");
  EXPECT_EQ(line({.channels = 1, .pixels = {}}, grey), "");
  EXPECT_EQ(line({.channels = 1, .pixels = {}}, colour), "of 1 image, 1 from grey to RGB");
  EXPECT_EQ(line({.channels = 3, .pixels = {}, .was_cmyk = true}, grey),
            "of 1 image, 1 from CMYK to RGB, 1 from RGB to grey");
  EXPECT_EQ(line({.channels = 3, .pixels = {}, .had_16_bits = true, .was_turned = true, .was_animated = true},
                 colour),
            "of 1 image, 1 animated, of which the first image is taken, 1 of 16 bits cut to 8, "
            "1 turned upright by EXIF orientation");
}

TEST(Conversions, SayWhatBecomesOfTransparency) {
  PixelOptions options{.height = 1, .width = 1, .channels = 3};
  EXPECT_EQ(line({.channels = 4, .pixels = {}}, options),
            "of 1 image, 1 rid of alpha (\"alpha\": \"white\" would blend it over white)");
  EXPECT_EQ(line({.channels = 4, .pixels = {}}, options, false), "of 1 image, 1 rid of alpha");
  options.alpha = Alpha::white;
  EXPECT_EQ(line({.channels = 4, .pixels = {}}, options), "of 1 image, 1 with alpha blended over white");
}

TEST(Conversions, AreCounted) {
  std::vector<Conversion> done(1200);
  EXPECT_EQ(conversions_line(done, {.height = 1, .width = 1, .channels = 1}, true), "");
  for (int i = 0; i < 1100; ++i) done[static_cast<size_t>(i)].rgb = true;
  EXPECT_EQ(conversions_line(done, {.height = 1, .width = 1, .channels = 1}, true),
            "of 1,200 images, 1,100 from RGB to grey");
}

}  // namespace
}  // namespace espalier

// Images of every number of channels as models of one and three take them; WebP, BMP, 16 bits and CMYK.
#include "data/image_files.h"
#include "espalier/data/image.h"
#include "support/bad_input.h"
#include "support/places.h"

namespace espalier {
namespace {

Bytes pixels(const Image& image, int64_t channels, Alpha alpha = Alpha::drop) {
  Bytes to(static_cast<size_t>(image.height * image.width * channels));
  to_pixels(image, {image.height, image.width, channels, alpha}, to.data());
  return to;
}

TEST(ToPixels, WhatAModelTakes) {
  EXPECT_EQ(pixels({1, 2, 1, {7, 9}}, 3), (Bytes{7, 7, 7, 9, 9, 9}));
  EXPECT_EQ(pixels({1, 2, 3, {255, 0, 0, 255, 255, 255}}, 1), (Bytes{76, 255}));  // 0.299 of 255
  EXPECT_EQ(pixels({1, 1, 3, {1, 2, 3}}, 3), (Bytes{1, 2, 3}));
  EXPECT_TRUE(contains(message_of([] {
                         pixels({1, 1, 3, {1, 2, 3}}, 2);
                       }),
                       "/model/input: found 2 channels"));
}

TEST(ToPixels, AlphaIsDroppedOrBlendedOverWhite) {
  const Image colour{1, 3, 4, {100, 0, 9, 0, 100, 0, 9, 255, 100, 0, 255, 102}}, grey{1, 1, 2, {100, 102}};
  EXPECT_EQ(pixels(colour, 3), (Bytes{100, 0, 9, 100, 0, 9, 100, 0, 255}));
  EXPECT_EQ(pixels(colour, 3, Alpha::white), (Bytes{255, 255, 255, 100, 0, 9, 193, 153, 255}));
  EXPECT_EQ(pixels(grey, 1), Bytes{100});
  EXPECT_EQ(pixels(grey, 3, Alpha::white), (Bytes{193, 193, 193}));
}

TEST(DecodeImage, WebP) {
  for (const int64_t channels : {3, 4}) {
    Image image{5, 7, channels, {}};
    for (int64_t i = 0; i < 35 * channels; ++i) image.pixels.push_back(static_cast<uint8_t>(7 * i));
    if (channels == 4)
      for (size_t i = 3; i < image.pixels.size(); i += 4)
        image.pixels[i] |= 1;  // colours of none are not kept
    const Image decoded = decode_image(webp(image), "x.webp");
    EXPECT_EQ(decoded.height, 5);
    EXPECT_EQ(decoded.channels, channels);
    EXPECT_EQ(decoded.pixels, image.pixels);
    const Bytes bytes = webp(image);
    for (size_t size = 0; size < bytes.size() - 1; ++size)
      EXPECT_TRUE(contains(message_of([&] {
                             decode_image({bytes.data(), size}, "x.webp");
                           }),
                           "x.webp: "))
          << size << " of " << bytes.size();
  }
}

TEST(DecodeImage, OfAnAnimatedWebPTheFirstImage) {
  const Image first = plain(4, 6, {1, 2, 3}), second = plain(4, 6, {7, 8, 9});
  const Bytes bytes = animated_webp({webp(first), webp(second)});
  const Image image = decode_image(bytes, "x.webp");
  EXPECT_TRUE(image.was_animated);
  EXPECT_EQ(image.pixels, first.pixels);
  EXPECT_FALSE(decode_image(webp(first), "x.webp").was_animated);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_TRUE(contains(message_of([&] {
                           decode_image({bytes.data(), size}, "x.webp");
                         }),
                         "x.webp: "))
        << size << " of " << bytes.size();

  EXPECT_EQ(message_of([&] { decode_image(animated_webp({}), "x.webp"); }),
            "x.webp: corrupt WebP: an animation that is cut short or has no image");
}

TEST(DecodeImage, Bmp) {
  const Image image{3, 2, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}};
  Bytes bytes = bmp(image);
  EXPECT_EQ(decode_image(bytes, "x.bmp").pixels, image.pixels);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_TRUE(contains(message_of([&] {
                           decode_image({bytes.data(), size}, "x.bmp");
                         }),
                         "x.bmp: "))
        << size;
  bytes[30] = 1;
  EXPECT_EQ(message_of([&] { decode_image(bytes, "x.bmp"); }),
            "x.bmp: is a BMP with compression, which is not supported");
}

TEST(DecodeImage, ABmpsPaletteMayLackAColour) {
  Bytes bytes{'B', 'M', 0, 0, 0, 0, 0, 0, 0, 0, 62, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 8, 0};
  bytes.resize(54);
  const Bytes palette{1, 2, 3, 0, 4, 5, 6, 0};
  EXPECT_EQ(decode_image(bytes + palette + Bytes{1, 0, 0, 0}, "x.bmp").pixels, (Bytes{6, 5, 4}));
  EXPECT_EQ(decode_image(bytes + palette + Bytes{9, 0, 0, 0}, "x.bmp").pixels, (Bytes{0, 0, 0}));
}

TEST(DecodeImage, CmykBecomesRgb) {
  std::ifstream file(source_folder() + "/tests/data/images/cmyk.jpg", std::ios::binary);  // 8 x 8, red
  const Bytes bytes{std::istreambuf_iterator<char>(file), {}};
  const Image image = decode_image(bytes, "x.jpg");
  EXPECT_TRUE(image.was_cmyk);
  ASSERT_EQ(image.channels, 3);
  EXPECT_NEAR(image.pixels[0], 255, 3);
  EXPECT_NEAR(image.pixels[1], 0, 3);
  EXPECT_NEAR(image.pixels[2], 0, 3);
}

}  // namespace
}  // namespace espalier

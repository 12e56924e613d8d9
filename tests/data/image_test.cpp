// Decoding and resizing of images, against files made here and numbers worked out by hand.
#include "espalier/data/image.h"

#include <algorithm>

#include "data/image_files.h"
#include "espalier/core/random.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

Image noise(int64_t height, int64_t width, int64_t channels) {
  Image image{height, width, channels, {}};
  for (int64_t i = 0; i < height * width * channels; ++i)
    image.pixels.push_back(static_cast<uint8_t>(random_bits(1, static_cast<uint64_t>(i))));
  return image;
}

std::string message(const Bytes& bytes, int64_t most = 1 << 20) {
  return message_of([&] { decode_image(bytes, "x.jpg", most); });
}

TEST(DecodeImage, PngOfAnyChannels) {
  for (int64_t channels = 1; channels <= 4; ++channels) {
    const Image image = noise(5, 7, channels), decoded = decode_image(png(image), "x.png");
    EXPECT_EQ(decoded.height, 5);
    EXPECT_EQ(decoded.width, 7);
    EXPECT_EQ(decoded.channels, channels);
    EXPECT_EQ(decoded.pixels, image.pixels);
  }
}

TEST(DecodeImage, Jpeg) {
  const Image decoded = decode_image(jpeg(plain(9, 12, {200, 100, 50})), "x.jpg");
  EXPECT_EQ(decoded.height, 9);
  EXPECT_EQ(decoded.width, 12);
  ASSERT_EQ(decoded.channels, 3);
  for (size_t i = 0; i < decoded.pixels.size(); ++i)
    EXPECT_NEAR(decoded.pixels[i], (std::array{200, 100, 50})[i % 3], 3);
}

TEST(DecodeImage, CutShortAnywhere) {
  for (const Bytes& bytes : {png(noise(9, 9, 3)), jpeg(noise(9, 9, 3))})
    for (size_t size = 0; size < bytes.size(); ++size)
      EXPECT_TRUE(contains(message(Bytes(bytes.begin(), bytes.begin() + static_cast<long>(size))), "x.jpg: "))
          << size << " of " << bytes.size();
}

TEST(DecodeImage, IsNoImage) {
  EXPECT_EQ(message({}), "x.jpg: is empty, expected a JPEG or PNG image");
  const Bytes gif = {'G', 'I', 'F', '8', '9', 'a', 1, 0, 1, 0, 0, 0, 0};
  EXPECT_TRUE(contains(message(gif), "x.jpg: no JPEG or PNG image, or a corrupt one: "));
  Bytes corrupt = png(noise(9, 9, 3));
  corrupt[50] ^= 0xFF;
  EXPECT_TRUE(
      contains(message(corrupt), "x.jpg: corrupt PNG: the chunk at byte 33 does not have its checksum"));
  Bytes jpg = jpeg(noise(9, 9, 3));
  jpg[200] = 0xFF;  // in the middle of a table
  jpg[201] = 0xFF;
  EXPECT_TRUE(contains(message(jpg), "x.jpg: "));
}

TEST(DecodeImage, LargeOnesAreRefusedBeforeTheyAreDecoded) {
  EXPECT_EQ(message(png(noise(9, 12, 1)), 107),
            "x.jpg: is 9 x 12 pixels large, more than the 107 that an image may have");
  EXPECT_EQ(decode_image(png(noise(9, 12, 1)), "x.png", 108).pixels.size(), 108u);
}

Bytes resized(const Image& image, int64_t height, int64_t width) {
  Bytes pixels(static_cast<size_t>(height * width * image.channels));
  resize(image, height, width, pixels.data());
  return pixels;
}

TEST(Resize, SameSizeIsTheSame) {
  const Image image = noise(6, 5, 3);
  EXPECT_EQ(resized(image, 6, 5), image.pixels);
}

TEST(Resize, ByHand) {
  // To half the size each pixel takes four of a row, by 1/8, 3/8, 3/8, 1/8; at an edge three, by 3, 3, 1
  // of 7.
  const Image row{1, 4, 1, {0, 70, 140, 210}};
  const Image rows{4, 4, 1, {0, 70, 140, 210, 0, 70, 140, 210, 0, 70, 140, 210, 0, 70, 140, 210}};
  EXPECT_EQ(resized(rows, 2, 2), (Bytes{50, 160, 50, 160}));
  // To twice the size: 3/4 of the nearer and 1/4 of the farther neighbour.
  const Image two{2, 2, 1, {0, 100, 0, 100}};
  EXPECT_EQ(resized(two, 4, 4), (Bytes{0, 25, 75, 100, 0, 25, 75, 100, 0, 25, 75, 100, 0, 25, 75, 100}));
  const Image turned{2, 2, 1, {0, 0, 100, 100}};
  EXPECT_EQ(resized(turned, 4, 4), (Bytes{0, 0, 0, 0, 25, 25, 25, 25, 75, 75, 75, 75, 100, 100, 100, 100}));
  EXPECT_EQ(resized(row, 1, 1), (Bytes{105}));  // the middle of the row: between 70 and 140
}

TEST(Resize, KeepsTheAspectAndCutsWhatStandsOut) {
  const Image wide{1, 5, 1, {10, 20, 30, 40, 50}};
  EXPECT_EQ(resized(wide, 1, 3), (Bytes{20, 30, 40}));
  const Image tall{5, 1, 1, {10, 20, 30, 40, 50}};
  EXPECT_EQ(resized(tall, 3, 1), (Bytes{20, 30, 40}));
}

TEST(Resize, ChannelsStayApart) {
  const Bytes pixels = resized(plain(100, 37, {255, 0, 9}), 23, 31);
  for (size_t i = 0; i < pixels.size(); ++i) EXPECT_EQ(pixels[i], (std::array{255, 0, 9})[i % 3]);
}

TEST(Resize, ExtremeSizes) {
  EXPECT_EQ(resized(plain(1, 1, {77}), 50, 3), Bytes(150, 77));
  EXPECT_EQ(resized(plain(1000, 1, {77}), 1, 1), Bytes(1, 77));
  EXPECT_EQ(resized(plain(1, 1000, {77}), 9, 2), Bytes(18, 77));
}

}  // namespace
}  // namespace espalier

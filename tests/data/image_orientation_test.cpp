// EXIF's eight orientations in each kind of file that may say one, and what is no orientation.
#include "espalier/data/image_orientation.h"

#include "data/image_files.h"

namespace espalier {
namespace {

/// A TIFF directory of two entries, the second of which is the orientation.
Bytes tiff(int orientation, bool big_endian) {
  const auto value = static_cast<uint8_t>(orientation);
  if (big_endian)
    return {'M', 'M', 0, 42,   0,    0, 0, 8, 0, 2, 1, 0, 0,     3, 0, 0, 0, 1, 0,
            9,   0,   0, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0};
  return {'I', 'I', 42, 0,    8,    0, 0, 0, 2, 0, 0, 1,     3, 0, 1, 0, 0, 0, 9,
          0,   0,   0,  0x12, 0x01, 3, 0, 1, 0, 0, 0, value, 0, 0, 0, 0, 0, 0, 0};
}

Bytes inserted(Bytes bytes, size_t at, const Bytes& more) {
  bytes.insert(bytes.begin() + static_cast<long>(at), more.begin(), more.end());
  return bytes;
}

const Bytes exif{'E', 'x', 'i', 'f', 0, 0};

Bytes jpeg_with(const Bytes& app1) {
  const Bytes head{0xFF, 0xE1, 0, static_cast<uint8_t>(2 + app1.size())};
  return inserted(jpeg(plain(8, 8, {1, 2, 3})), 2, head + app1);
}

Bytes png_with(const Image& image, const Bytes& content) {
  const Bytes checked = Bytes{'e', 'X', 'I', 'f'} + content;
  const uLong crc = crc32_z(0, checked.data(), checked.size());
  return inserted(png(image), 33,
                  Bytes{0, 0, 0, static_cast<uint8_t>(content.size())} + checked +
                      Bytes{static_cast<uint8_t>(crc >> 24), static_cast<uint8_t>(crc >> 16),
                            static_cast<uint8_t>(crc >> 8), static_cast<uint8_t>(crc)});
}

TEST(ExifOrientation, IsReadOfEveryFormat) {
  for (int orientation = 1; orientation <= 8; ++orientation)
    for (const bool big_endian : {false, true}) {
      const Bytes content = tiff(orientation, big_endian);
      EXPECT_EQ(exif_orientation(jpeg_with(exif + content)), orientation);
      EXPECT_EQ(exif_orientation(png_with(plain(2, 2, {1}), content)), orientation);
      const Bytes webp{'R',
                       'I',
                       'F',
                       'F',
                       0,
                       0,
                       0,
                       0,
                       'W',
                       'E',
                       'B',
                       'P',
                       'E',
                       'X',
                       'I',
                       'F',
                       static_cast<uint8_t>(content.size()),
                       0,
                       0,
                       0};
      EXPECT_EQ(exif_orientation(webp + content), orientation);
    }
}

TEST(ExifOrientation, IsUprightWhereNothingSaysOtherwise) {
  EXPECT_EQ(exif_orientation(jpeg(plain(8, 8, {1}))), 1);
  EXPECT_EQ(exif_orientation(jpeg_with(exif + tiff(9, true))), 1);
  EXPECT_EQ(exif_orientation(jpeg_with({'h', 't', 't', 'p'})), 1);
  const Bytes whole = exif + tiff(6, false);
  for (size_t size = 0; size < 6 + 30; ++size)
    EXPECT_EQ(exif_orientation(jpeg_with(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)))), 1);
}

TEST(ExifOrientation, TurnsTheImage) {
  // 1 2 3 / 4 5 6 as the file has it, and as it is seen.
  const Image file{2, 3, 1, {1, 2, 3, 4, 5, 6}};
  const Bytes seen[] = {{1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1}, {4, 5, 6, 1, 2, 3},
                        {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3}, {6, 3, 5, 2, 4, 1}, {3, 6, 2, 5, 1, 4}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Image image = decode_image(png_with(file, tiff(orientation, true)), "x.png");
    EXPECT_EQ(image.height, orientation < 5 ? 2 : 3);
    EXPECT_EQ(image.pixels, seen[orientation - 1]) << orientation;
    EXPECT_EQ(image.was_turned, orientation > 1);
  }
}

}  // namespace
}  // namespace espalier

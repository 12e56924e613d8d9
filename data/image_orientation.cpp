// The orientation is one entry (tag 0x0112) of the first directory of a TIFF file without pixels (EXIF 2.3,
// 4.6), which image formats carry each in a chunk of its own kind.
#include "espalier/data/image_orientation.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "espalier/data/bytes.h"

namespace espalier {
namespace {

using Bytes = std::span<const uint8_t>;

int orientation_of_tiff(Bytes tiff) {
  constexpr size_t tag = 0x0112, entry = 12;
  const bool big = starts_with(tiff, "MM");
  if (!big && !starts_with(tiff, "II")) return 1;
  const auto number = big ? big_endian : little_endian;
  const size_t directory = number(tiff, 4, 4), entries = number(tiff, directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t at = directory + 2 + i * entry;
    if (number(tiff, at, 2) != tag) continue;
    const uint32_t value = number(tiff, at + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

constexpr std::string_view exif_header("Exif\0\0", 6);

int orientation_of_jpeg(Bytes file) {
  constexpr uint8_t app1 = 0xE1, scan = 0xDA;
  for (size_t at = 2; at + 4 <= file.size() && file[at] == 0xFF;) {
    if (file[at + 1] == 0xFF) {  // fills up
      ++at;
      continue;
    }
    const uint8_t kind = file[at + 1];
    const size_t length = big_endian(file, at + 2, 2);
    if (kind == scan || length < 2 || length > file.size() - at - 2) break;
    const Bytes content = file.subspan(at + 4, length - 2);
    if (kind == app1 && starts_with(content, exif_header))
      return orientation_of_tiff(content.subspan(exif_header.size()));
    at += 2 + length;
  }
  return 1;
}

int orientation_of_png(Bytes file) {
  for (size_t at = 8; at + 12 <= file.size();) {
    const size_t length = big_endian(file, at, 4);
    if (length > file.size() - at - 12) break;
    if (starts_with(file.subspan(at + 4), "eXIf")) return orientation_of_tiff(file.subspan(at + 8, length));
    at += 12 + length;
  }
  return 1;
}

int orientation_of_webp(Bytes file) {
  for (size_t at = 12; at + 8 <= file.size();) {
    const size_t length = little_endian(file, at + 4, 4);
    if (length > file.size() - at - 8) break;
    if (starts_with(file.subspan(at), "EXIF")) {
      const Bytes content = file.subspan(at + 8, length);  // some writers keep JPEG's header
      return orientation_of_tiff(starts_with(content, exif_header) ? content.subspan(exif_header.size())
                                                                   : content);
    }
    at += 8 + length + length % 2;
  }
  return 1;
}

}  // namespace

int exif_orientation(Bytes file) {
  if (starts_with(file, "\xFF\xD8")) return orientation_of_jpeg(file);
  if (starts_with(file, "\x89PNG")) return orientation_of_png(file);
  if (starts_with(file, "RIFF")) return orientation_of_webp(file);
  return 1;
}

Image upright(Image image, int orientation) {
  if (orientation == 1) return image;
  // Rows of the file are seen as columns from 5 on; its first row is then on the left (5, 8) or right (6, 7),
  // else on top (2) or at the bottom (3, 4); its first column is at the right in 2 and 3, at the bottom in 7
  // and 8.
  const bool swapped = orientation >= 5;
  const bool rows_back = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool columns_back = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const int64_t h = image.height, w = image.width, c = image.channels;
  Image turned = image;
  turned.was_turned = true;
  if (swapped) std::swap(turned.height, turned.width);
  for (int64_t y = 0; y < h; ++y)
    for (int64_t x = 0; x < w; ++x) {
      const int64_t row = rows_back ? h - 1 - y : y, column = columns_back ? w - 1 - x : x;
      const int64_t to = swapped ? column * turned.width + row : row * w + column;
      std::copy_n(image.pixels.begin() + (y * w + x) * c, c, turned.pixels.begin() + to * c);
    }
  return turned;
}

}  // namespace espalier

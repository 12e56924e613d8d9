// Image files made by the tests.
#pragma once

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

#include "data/packed_files.h"
#include "espalier/data/image.h"

inline void append_bytes(void* to, void* data, int size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  static_cast<Bytes*>(to)->insert(static_cast<Bytes*>(to)->end(), bytes, bytes + size);
}

inline Bytes png(const espalier::Image& image) {
  Bytes bytes;
  EXPECT_TRUE(stbi_write_png_to_func(append_bytes, &bytes, static_cast<int>(image.width),
                                     static_cast<int>(image.height), static_cast<int>(image.channels),
                                     image.pixels.data(), 0));
  return bytes;
}

inline Bytes jpeg(const espalier::Image& image) {
  Bytes bytes;
  EXPECT_TRUE(stbi_write_jpg_to_func(append_bytes, &bytes, static_cast<int>(image.width),
                                     static_cast<int>(image.height), static_cast<int>(image.channels),
                                     image.pixels.data(), 95));
  return bytes;
}

/// An image of one colour.
inline espalier::Image plain(int64_t height, int64_t width, const Bytes& colour) {
  espalier::Image image{height, width, static_cast<int64_t>(colour.size()), {}};
  for (int64_t i = 0; i < height * width; ++i)
    image.pixels.insert(image.pixels.end(), colour.begin(), colour.end());
  return image;
}

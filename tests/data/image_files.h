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

#include <webp/encode.h>

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

inline Bytes bmp(const espalier::Image& image) {
  Bytes bytes;
  EXPECT_TRUE(stbi_write_bmp_to_func(append_bytes, &bytes, static_cast<int>(image.width),
                                     static_cast<int>(image.height), static_cast<int>(image.channels),
                                     image.pixels.data()));
  return bytes;
}

/// A lossless WebP of 3 or 4 channels.
inline Bytes webp(const espalier::Image& image) {
  uint8_t* packed = nullptr;
  const auto encode = image.channels == 4 ? WebPEncodeLosslessRGBA : WebPEncodeLosslessRGB;
  const size_t size =
      encode(image.pixels.data(), static_cast<int>(image.width), static_cast<int>(image.height),
             static_cast<int>(image.width * image.channels), &packed);
  EXPECT_GT(size, 0u);
  Bytes bytes(packed, packed + size);
  WebPFree(packed);
  return bytes;
}

/// An animation of 4 x 6 of WebPs of as many pixels.
inline Bytes animated_webp(const std::vector<Bytes>& webps) {
  const auto chunk = [&](const char* name, const Bytes& content) {
    const size_t size = content.size();
    return Bytes(name, name + 4) + Bytes{static_cast<uint8_t>(size), static_cast<uint8_t>(size >> 8), 0, 0} +
           content;
  };
  const Bytes shape{5, 0, 0, 3, 0, 0};  // each less 1
  Bytes chunks = chunk("VP8X", Bytes{0x12, 0, 0, 0} + shape) + chunk("ANIM", Bytes(6));
  for (const Bytes& webp : webps)
    chunks = chunks + chunk("ANMF", Bytes(6) + shape + Bytes(4) + Bytes(webp.begin() + 12, webp.end()));
  return chunk("RIFF", Bytes{'W', 'E', 'B', 'P'} + chunks);
}

/// An image of one colour.
inline espalier::Image plain(int64_t height, int64_t width, const Bytes& colour) {
  espalier::Image image{height, width, static_cast<int64_t>(colour.size()), {}};
  for (int64_t i = 0; i < height * width; ++i)
    image.pixels.insert(image.pixels.end(), colour.begin(), colour.end());
  return image;
}

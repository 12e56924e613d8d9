// From the channels that a file has to those that a model takes.
#include <algorithm>
#include <cctype>
#include <filesystem>

#include "espalier/data/image.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {

uint8_t over_white(int colour, int alpha) {
  return static_cast<uint8_t>((colour * alpha + 255 * (255 - alpha) + 127) / 255);
}

/// The weights of ITU-R BT.601, in parts of 2^16, as other programs round them, too.
uint8_t luma(const uint8_t* rgb) {
  return static_cast<uint8_t>((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 0x8000u) >> 16);
}

/// The image without its alpha, and grey if `grey`: what has to come before pixels are mixed.
Image flattened(const Image& from, Alpha alpha, bool grey) {
  const bool has_alpha = from.channels % 2 == 0;
  const int64_t colours = from.channels - has_alpha;
  Image image{from.height, from.width, grey ? 1 : colours, {}};
  image.pixels.reserve(static_cast<size_t>(image.height * image.width * image.channels));
  const uint8_t* pixel = from.pixels.data();
  for (int64_t i = 0; i < from.height * from.width; ++i, pixel += from.channels) {
    uint8_t colour[3];
    for (int64_t c = 0; c < colours; ++c)
      colour[c] = has_alpha && alpha == Alpha::white ? over_white(pixel[c], pixel[colours]) : pixel[c];
    if (grey && colours == 3) colour[0] = luma(colour);
    image.pixels.insert(image.pixels.end(), colour, colour + image.channels);
  }
  return image;
}

}  // namespace

bool has_image_extension(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".webp" ||
         extension == ".bmp";
}

Alpha alpha_named(const std::string& name) {
  if (name == "drop") return Alpha::drop;
  ESP_CHECK(name == "white", "alpha is '", name, "', expected drop or white");
  return Alpha::white;
}

void check_channels(const PixelOptions& options) {
  if (options.channels != 1 && options.channels != 3)
    fail_usage("/model/input: found ", options.channels,
               " channels, expected 1 (grey) or 3 (RGB) for images");
}

void to_pixels(const Image& image, const PixelOptions& options, uint8_t* to) {
  check_channels(options);
  const bool grey = options.channels == 1;
  if (image.channels == options.channels || image.channels == 1)
    resize(image, options.height, options.width, to);
  else
    resize(flattened(image, options.alpha, grey), options.height, options.width, to);
  if (grey || image.channels >= 3) return;
  for (int64_t i = options.height * options.width - 1; i >= 0; --i) std::fill_n(to + 3 * i, 3, to[i]);
}

}  // namespace espalier

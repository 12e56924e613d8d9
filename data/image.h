// Image files: JPEG, PNG, WebP and BMP to pixels, and pixels to what a model takes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace espalier {

struct Image {
  int64_t height = 0, width = 0,
          channels = 0;         ///< channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha
  std::vector<uint8_t> pixels;  ///< [H,W,C]
  bool had_16_bits = false;     ///< a sample, in the file, of which the upper 8 are kept
  bool was_cmyk = false;        ///< a JPEG of four inks, which has become RGB
  bool was_turned = false;      ///< by the file's EXIF orientation
  bool was_animated = false;    ///< a PNG or WebP of several images, of which this is the first
};

/// Which pixels decode_image and to_pixels make of a file. To be raised with every change that makes any
/// pixel another: kept images of an older version are decoded anew (image_folder.h).
constexpr int image_version = 4;

/// The files that decode_image reads, for messages, and whether a path ends like one of them.
constexpr const char* image_extensions = ".jpg, .jpeg, .png, .webp or .bmp";
bool has_image_extension(const std::string& path);

/// The pixels of a JPEG, PNG, WebP or BMP file with the channels it has, turned upright as its EXIF
/// orientation says; of an animation the first image. An Error that names `file` if it is none of them, is
/// corrupt or cut short, or has more than `max_pixels` (2^27: 400 MB).
Image decode_image(std::span<const uint8_t> bytes, const std::string& file,
                   int64_t max_pixels = int64_t{1} << 27);

/// `from` scaled, its aspect kept, so that it covers height x width, what stands out cut off on both sides
/// alike. Bilinear, and smoothed where it shrinks: each pixel of the result is the mean of the pixels around
/// its centre with the weights max(0, 1 - |distance| / max(scale, 1)), on both axes. `to` [height,width,C].
void resize(const Image& from, int64_t height, int64_t width, uint8_t* to);

/// What becomes of transparency: the colours below it are taken as they are, or are blended over white.
enum class Alpha { drop, white };
Alpha alpha_named(const std::string& name);  ///< "drop", "white"

/// What a model takes.
struct PixelOptions {
  int64_t height, width;
  int64_t channels;  ///< 1 or 3
  Alpha alpha = Alpha::drop;
};

/// UsageError unless the model takes 1 or 3 channels.
void check_channels(const PixelOptions& options);

/// `image` as a model takes it: without alpha, grey or RGB (grey is 0.299 R + 0.587 G + 0.114 B), resized.
/// `to` [height,width,channels]. UsageError as check_channels.
void to_pixels(const Image& image, const PixelOptions& options, uint8_t* to);

}  // namespace espalier

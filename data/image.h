// Image files: JPEG and PNG to pixels, and pixels to another size.
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
};

/// Which pixels decode_image and resize make of a file. Whoever changes them so that any pixel becomes
/// another raises it: kept images of an older version are decoded anew (image_folder.h).
constexpr int image_version = 2;

/// The pixels of a JPEG or PNG file with the channels it has. PNGs of 16 bits are cut to 8. An Error that
/// names `file` if it is neither, is corrupt or cut short, or has more than `most_pixels` (2^27: 400 MB).
Image decode_image(std::span<const uint8_t> bytes, const std::string& file,
                   int64_t most_pixels = int64_t{1} << 27);

/// `from` scaled, its aspect kept, so that it covers height x width, what stands out cut off on both sides
/// alike. Bilinear, and smoothed where it shrinks: each pixel of the result is the mean of the pixels around
/// its centre with the weights max(0, 1 - |distance| / max(scale, 1)), on both axes. `to` [height,width,C].
void resize(const Image& from, int64_t height, int64_t width, uint8_t* to);

}  // namespace espalier

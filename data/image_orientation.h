// EXIF orientation: how a camera was held.
#pragma once

#include <cstdint>
#include <span>

#include "espalier/data/image.h"

namespace espalier {

/// 1 .. 8 as EXIF counts (1: upright) of a JPEG's APP1, a PNG's eXIf or a WebP's EXIF; 1 where it says none,
/// or nothing that can be read. The file must have passed its check (image_check.h).
int exif_orientation(std::span<const uint8_t> file);

/// `image` as it is seen upright.
Image upright(Image image, int orientation);

}  // namespace espalier

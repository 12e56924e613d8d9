// What had to be done to images so that a model takes them, for a person to be told once.
#pragma once

#include <span>
#include <string>

#include "espalier/data/image.h"

namespace espalier {

/// What an image was that became a model's pixels.
struct Conversion {
  bool grey = false, rgb = false, alpha = false, deep = false, inks = false, turned = false, animated = false;
};
Conversion conversion_of(const Image& image);

/// "of 9 images, 2 with alpha blended over white, 1 from grey to RGB"; empty where they are as the model
/// takes them. `may_blend`: another `alpha` can still be asked for.
std::string conversions_line(std::span<const Conversion> images, const PixelOptions& options, bool may_blend);

}  // namespace espalier

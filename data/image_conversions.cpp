#include "espalier/data/image_conversions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "espalier/util/table.h"

namespace espalier {

Conversion conversion_of(const Image& image) {
  return {.grey = image.channels <= 2,
          .rgb = image.channels >= 3,
          .alpha = image.channels % 2 == 0,
          .deep = image.had_16_bits,
          .inks = image.was_cmyk,
          .turned = image.was_turned,
          .animated = image.was_animated};
}

std::string conversions_line(std::span<const Conversion> images, const PixelOptions& options,
                             bool may_blend) {
  std::vector<std::string> made;
  const auto say = [&](bool Conversion::*what, const std::string& became) {
    if (const auto count = std::ranges::count(images, true, what); count > 0)
      made.push_back(fmt::format("{} {}", grouped(count), became));
  };
  say(&Conversion::animated, "animated, of which the first image is taken");
  say(&Conversion::deep, "of 16 bits cut to 8");
  say(&Conversion::inks, "from CMYK to RGB");
  say(&Conversion::turned, "turned upright by EXIF orientation");
  if (options.alpha == Alpha::white)
    say(&Conversion::alpha, "with alpha blended over white");
  else
    say(&Conversion::alpha,
        may_blend ? "rid of alpha (\"alpha\": \"white\" would blend it over white)" : "rid of alpha");
  if (options.channels == 3)
    say(&Conversion::grey, "from grey to RGB");
  else
    say(&Conversion::rgb, "from RGB to grey");
  if (made.empty()) return "";
  return fmt::format("of {} {}, {}", grouped(static_cast<int64_t>(images.size())),
                     plural(static_cast<int64_t>(images.size()), "image"), fmt::join(made, ", "));
}

}  // namespace espalier

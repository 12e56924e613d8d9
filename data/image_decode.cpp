// stb_image, compiled here and nowhere else, for JPEG and PNG alone.
#include <climits>
#include <memory>

#include "espalier/core/error.h"
#include "espalier/data/image.h"
#include "espalier/data/image_check.h"

namespace {
// What cmake/stb_image.cmake makes stb_image say and ask.
thread_local bool out_of_bits;       // the data of a JPEG ended before its blocks did
thread_local size_t most_inflated;   // what the data of a PNG may unpack to, in bytes,
thread_local bool inflates_to_more;  // and whether they do
bool may_inflate_to(size_t bytes) {
  inflates_to_more = bytes > most_inflated;
  return !inflates_to_more;
}
}  // namespace
#define STBI_OUT_OF_BITS() (out_of_bits = true)
#define STBI_MAY_INFLATE_TO(bytes) may_inflate_to(bytes)

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC  // Debian's libstb has the same names
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_FAILURE_USERMSG
#define STBI_ASSERT(condition) ((void)0)  // of corrupt files, too
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image.h>
#pragma GCC diagnostic pop

namespace espalier {
namespace {

constexpr const char* reason = "it is damaged, or of a kind of JPEG or PNG that is not supported";

}  // namespace

Image decode_image(std::span<const uint8_t> bytes, const std::string& file, int64_t most_pixels) {
  ESP_CHECK(!bytes.empty(), file, ": is empty, expected a JPEG or PNG image");
  ESP_CHECK(bytes.size() <= INT_MAX, file, ": is ", bytes.size(), " bytes long, too much for an image");
  const std::optional<size_t> most_bytes = most_image_bytes(bytes);
  ESP_CHECK(most_bytes, file, ": is neither JPEG nor PNG");
  ESP_CHECK(bytes.size() <= *most_bytes, file, ": is longer than the ", *most_bytes,
            " bytes that an image with such a header may have");
  const std::optional<size_t> png_data = check_png(bytes, file);
  if (!png_data) check_jpeg(bytes, file);
  const auto size = static_cast<int>(bytes.size());
  int width = 0, height = 0, channels = 0;
  ESP_CHECK(stbi_info_from_memory(bytes.data(), size, &width, &height, &channels), file,
            ": cannot be decoded: ", reason);
  ESP_CHECK(int64_t{width} * height <= most_pixels, file, ": is ", height, " x ", width,
            " pixels large, more than the ", most_pixels, " that an image may have");
  out_of_bits = inflates_to_more = false;
  most_inflated = png_data.value_or(0);
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(bytes.data(), size, &width, &height, &channels, 0), &stbi_image_free);
  ESP_CHECK(!inflates_to_more, file, ": corrupt PNG: its data unpack to more than the ", most_inflated,
            " bytes that ", height, " x ", width, " pixels need");
  ESP_CHECK(pixels, file, ": cannot be decoded: ", reason);
  ESP_CHECK(!out_of_bits, file, ": cannot be decoded: its data end before its last pixel");
  const auto count = static_cast<size_t>(height) * static_cast<size_t>(width) * static_cast<size_t>(channels);
  return {height, width, channels, {pixels.get(), pixels.get() + count}};
}

}  // namespace espalier

// stb_image, compiled here and nowhere else, for JPEG and PNG alone. It skips a PNG's checksums, so they are
// checked before it.
#include <zlib.h>

#include <algorithm>
#include <climits>
#include <memory>

#include "espalier/core/error.h"
#include "espalier/data/image.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC  // Debian's libstb has the same names
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_FAILURE_USERMSG
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace espalier {
namespace {

std::string reason() {
  const char* text = stbi_failure_reason();
  return text ? text : "stb_image gives no reason";
}

constexpr uint8_t png_signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

uint32_t big_endian(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint32_t>(bytes[at]) << 24 | static_cast<uint32_t>(bytes[at + 1]) << 16 |
         static_cast<uint32_t>(bytes[at + 2]) << 8 | bytes[at + 3];
}

/// A PNG is chunks: length, type, content, and the CRC of type and content; IEND is the last.
void check_png_chunks(std::span<const uint8_t> bytes, const std::string& file) {
  constexpr size_t around = 12;  // bytes of a chunk that are not its content
  constexpr uint32_t last = 0x49454E44;
  for (size_t at = sizeof png_signature;;) {
    const size_t left = bytes.size() - at;
    const size_t content = left < around ? 0 : big_endian(bytes, at);
    ESP_CHECK(left >= around && content <= left - around, file, ": PNG cut short at byte ", bytes.size());
    const uint32_t type = big_endian(bytes, at + 4);
    const uLong crc = crc32_z(0, bytes.data() + at + 4, content + 4);
    ESP_CHECK(crc == big_endian(bytes, at + 8 + content), file, ": corrupt PNG: the chunk at byte ", at,
              " does not have its checksum");
    if (type == last) return;
    at += around + content;
  }
}

}  // namespace

Image decode_image(std::span<const uint8_t> bytes, const std::string& file, int64_t most_pixels) {
  ESP_CHECK(!bytes.empty(), file, ": is empty, expected a JPEG or PNG image");
  ESP_CHECK(bytes.size() <= INT_MAX, file, ": is ", bytes.size(), " bytes long, too much for an image");
  if (bytes.size() >= sizeof png_signature &&
      std::ranges::equal(bytes.first(sizeof png_signature), png_signature))
    check_png_chunks(bytes, file);
  const auto size = static_cast<int>(bytes.size());
  int width = 0, height = 0, channels = 0;
  ESP_CHECK(stbi_info_from_memory(bytes.data(), size, &width, &height, &channels), file,
            ": no JPEG or PNG image, or a corrupt one: ", reason());
  ESP_CHECK(int64_t{width} * height <= most_pixels, file, ": is ", height, " x ", width,
            " pixels large, more than the ", most_pixels, " that an image may have");
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(bytes.data(), size, &width, &height, &channels, 0), &stbi_image_free);
  ESP_CHECK(pixels, file, ": cannot be decoded: ", reason());
  const auto count = static_cast<size_t>(height) * static_cast<size_t>(width) * static_cast<size_t>(channels);
  return {height, width, channels, {pixels.get(), pixels.get() + count}};
}

}  // namespace espalier

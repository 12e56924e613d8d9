// libwebp, and stb_image, which is compiled only here, and only for JPEG, PNG and BMP.
#include <webp/decode.h>

#include <climits>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include "espalier/data/bytes.h"
#include "espalier/data/image.h"
#include "espalier/data/image_check.h"
#include "espalier/data/image_orientation.h"
#include "espalier/util/error.h"

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
#define STBI_ONLY_BMP
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

/// The Error of a file that has more pixels than it may.
void check_pixels(int64_t height, int64_t width, int64_t max_pixels, const std::string& file) {
  ESP_CHECK(height * width <= max_pixels, file, ": is ", height, " x ", width,
            " pixels large, more than the ", max_pixels, " that an image may have");
}

Image decode_by_stb(std::span<const uint8_t> bytes, const std::string& file, int64_t max_pixels,
                    const std::optional<PngContent>& png) {
  constexpr const char* reason = "it is damaged, or of a kind of JPEG, PNG or BMP that is not supported";
  const auto size = static_cast<int>(bytes.size());
  int width = 0, height = 0, channels = 0;
  ESP_CHECK(stbi_info_from_memory(bytes.data(), size, &width, &height, &channels), file,
            ": cannot be decoded: ", reason);
  check_pixels(std::abs(int64_t{height}), width, max_pixels, file);  // a BMP's is negative from the top down
  out_of_bits = inflates_to_more = false;
  most_inflated = png ? png->data : 0;
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(bytes.data(), size, &width, &height, &channels, 0), &stbi_image_free);
  ESP_CHECK(!inflates_to_more, file, ": corrupt PNG: its data unpack to more than the ", most_inflated,
            " bytes that ", height, " x ", width, " pixels need");
  ESP_CHECK(pixels, file, ": cannot be decoded: ", reason);
  ESP_CHECK(!out_of_bits, file, ": cannot be decoded: its data end before its last pixel");
  const auto count = static_cast<size_t>(height) * static_cast<size_t>(width) * static_cast<size_t>(channels);
  return {.height = height,
          .width = width,
          .channels = channels,
          .pixels = {pixels.get(), pixels.get() + count},
          .had_16_bits = png && stbi_is_16_bit_from_memory(bytes.data(), size),
          .was_animated = png && png->animated};
}

WebPBitstreamFeatures webp_features(std::span<const uint8_t> bytes, const std::string& file) {
  WebPBitstreamFeatures features;
  ESP_CHECK(WebPGetFeatures(bytes.data(), bytes.size(), &features) == VP8_STATUS_OK, file,
            ": corrupt WebP: its header is cut short or damaged");
  return features;
}

Image decode_still_webp(std::span<const uint8_t> bytes, const std::string& file, int64_t max_pixels) {
  const WebPBitstreamFeatures features = webp_features(bytes, file);
  check_pixels(features.height, features.width, max_pixels, file);
  Image image{features.height, features.width, features.has_alpha ? 4 : 3, {}};
  image.pixels.resize(static_cast<size_t>(image.height * image.width * image.channels));
  const auto decode = features.has_alpha ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  ESP_CHECK(decode(bytes.data(), bytes.size(), image.pixels.data(), image.pixels.size(),
                   static_cast<int>(image.width * image.channels)),
            file, ": cannot be decoded: this WebP is cut short or damaged");
  return image;
}

/// The content of the first ANMF chunk of an animation, after the header that says where on the canvas it
/// lies (WebP Container Specification): a WebP as it is without RIFF around it.
std::span<const uint8_t> first_of_webp(std::span<const uint8_t> bytes, const std::string& file) {
  constexpr size_t riff = 12, chunk = 8, frame = 16;  // bytes of headers
  size_t at = riff;
  while (at < bytes.size() && !starts_with(bytes.subspan(at), "ANMF"))
    at += chunk + (size_t{little_endian(bytes, at + 4, 4)} + 1) / 2 * 2;
  const size_t size = little_endian(bytes, at + 4, 4), end = chunk + little_endian(bytes, 4, 4);
  ESP_CHECK(end <= bytes.size() && at + chunk + size <= bytes.size() && size >= frame, file,
            ": corrupt WebP: an animation that is cut short or has no image");
  return bytes.subspan(at + chunk + frame, size - frame);
}

Image decode_webp(std::span<const uint8_t> bytes, const std::string& file, int64_t max_pixels) {
  const bool animated = webp_features(bytes, file).has_animation;
  Image image = decode_still_webp(animated ? first_of_webp(bytes, file) : bytes, file, max_pixels);
  image.was_animated = animated;
  return image;
}

}  // namespace

Image decode_image(std::span<const uint8_t> bytes, const std::string& file, int64_t max_pixels) {
  ESP_CHECK(!bytes.empty(), file, ": is empty, expected a JPEG, PNG, WebP or BMP image");
  ESP_CHECK(bytes.size() <= INT_MAX, file, ": is ", bytes.size(), " bytes long, too much for an image");
  const std::optional<ImageFormat> format = image_format(bytes);
  ESP_CHECK(format, file, ": is no JPEG, PNG, WebP or BMP");
  const size_t max_bytes = most_image_bytes(bytes).value();
  ESP_CHECK(bytes.size() <= max_bytes, file, ": is longer than the ", max_bytes,
            " bytes that an image with such a header may have");
  Image image;
  if (*format == ImageFormat::webp) {
    image = decode_webp(bytes, file, max_pixels);
  } else {
    const std::optional<PngContent> png = check_png(bytes, file);
    const JpegInks inks = *format == ImageFormat::jpeg ? check_jpeg(bytes, file) : JpegInks::none;
    if (*format == ImageFormat::bmp) check_bmp(bytes, file);
    image = decode_by_stb(bytes, file, max_pixels, png);
    ESP_CHECK(inks != JpegInks::unmarked, file, ": is a JPEG of four colours without Adobe's marker, ",
              "which would say how they are meant: save it as RGB");
    image.was_cmyk = inks == JpegInks::adobe;
  }
  return upright(std::move(image), exif_orientation(bytes));
}

}  // namespace espalier

// What stb_image believes of a file and must not: checked before it decodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace espalier {

enum class ImageFormat { jpeg, png, webp, bmp };

/// By its first bytes (12 are enough); nothing if it is none of these.
std::optional<ImageFormat> image_format(std::span<const uint8_t> beginning);

/// How many bytes a file may have that begins so (64 bytes are enough), by its own header: of a PNG, those of
/// its pixels as they are and 16 MiB of what else it holds; of a JPEG or WebP 256 MiB, of a BMP twice that.
/// Nothing if it is no image.
std::optional<size_t> most_image_bytes(std::span<const uint8_t> beginning);

/// What the chunks of a PNG say of it.
struct PngContent {
  size_t data = 0;        ///< bytes that its data unpack to: those of its rows, each with one for its filter
  bool animated = false;  ///< other images follow the one for programs that show only one
};

/// Nothing if it is no PNG. An Error that names `file` and the byte unless all its chunks are complete and
/// have their checksums.
std::optional<PngContent> check_png(std::span<const uint8_t> bytes, const std::string& file);

/// Of a JPEG of four colours, which is CMYK; without Adobe's marker nothing says how they are meant.
enum class JpegInks { none, adobe, unmarked };

/// An Error that names `file` and the byte unless the segments of the JPEG are complete up to its end marker,
/// its Huffman tables have at most 256 codes, each scan's tables are defined before it, and each component
/// has a scan: stb_image 2.27 writes past larger tables and reads memory that nothing has set. One that
/// claims more pixels than its bytes can be is refused, too, before memory is asked for them.
JpegInks check_jpeg(std::span<const uint8_t> bytes, const std::string& file);

/// An Error that names `file` unless it is a BMP without compression whose rows are all there: stb_image
/// takes what is missing for zeros.
void check_bmp(std::span<const uint8_t> bytes, const std::string& file);

}  // namespace espalier

// What stb_image believes of a file and must not: checked before it decodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace espalier {

/// How many bytes a file may have that begins so (64 bytes are enough), by its own header: of a PNG, those of
/// its pixels as they are and 16 MiB of what else it holds; of a JPEG 1 GiB. Nothing if it is neither.
std::optional<size_t> most_image_bytes(std::span<const uint8_t> beginning);

/// Of a PNG, the bytes that its data unpack to by what its header says: those of its rows, each with one for
/// its filter; nothing if it is no PNG. An Error that names `file` and the byte unless all its chunks are
/// whole and have their checksums.
std::optional<size_t> check_png(std::span<const uint8_t> bytes, const std::string& file);

/// An Error that names `file` and the byte unless the segments of the JPEG are whole up to its end marker,
/// its Huffman tables have at most 256 codes, each scan's tables are defined before it, and each component
/// has a scan: stb_image 2.27 writes behind larger tables and reads memory that nothing has set. So is one
/// that claims more pixels than its bytes can be, before memory is asked for them.
void check_jpeg(std::span<const uint8_t> bytes, const std::string& file);

}  // namespace espalier

// Fuzzes the decoding of JPEG, PNG, WebP and BMP, and resizing: whatever the bytes, there are as many pixels
// as the size says, or an Error is thrown. Each input is read as it is, and again with a PNG's checksums set
// right, so that mutations get past them.
#include <zlib.h>

#include <cstdint>
#include <vector>

#include "espalier/data/image.h"
#include "espalier/util/error.h"

namespace {

void read(const std::vector<uint8_t>& bytes) {
  constexpr int64_t most_pixels = 1 << 16;
  try {
    const espalier::Image image = espalier::decode_image(bytes, "fuzz", most_pixels);
    if (image.channels < 1 || image.channels > 4 || image.height * image.width > most_pixels)
      __builtin_trap();
    if (static_cast<int64_t>(image.pixels.size()) != image.height * image.width * image.channels)
      __builtin_trap();
    std::vector<uint8_t> small(static_cast<size_t>(7 * 5 * image.channels));
    espalier::resize(image, 7, 5, small.data());
  } catch (const espalier::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);
  read(bytes);
  if (size < 8 || bytes[0] != 0x89) return 0;
  for (size_t at = 8; at + 12 <= size;) {
    const size_t content =
        size_t{bytes[at]} << 24 | size_t{bytes[at + 1]} << 16 | size_t{bytes[at + 2]} << 8 | bytes[at + 3];
    if (content > size - at - 12) break;
    const uLong crc = crc32_z(0, &bytes[at + 4], content + 4);
    for (size_t i = 0; i < 4; ++i) bytes[at + 8 + content + i] = static_cast<uint8_t>(crc >> (24 - 8 * i));
    at += 12 + content;
  }
  read(bytes);
  return 0;
}

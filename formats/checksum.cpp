#include "espalier/formats/checksum.h"

#include <zlib.h>

namespace espalier {

uint32_t checksum(std::span<const std::byte> bytes, uint32_t so_far) {
  if (bytes.empty()) return so_far;  // zlib takes a null pointer for a question
  return static_cast<uint32_t>(crc32_z(so_far, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace espalier

// The checksum of what is kept on disk, so that a bit which turned there is noticed when it is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace espalier {

/// CRC-32 as zlib, gzip and PNG have it (ISO 3309): 0xCBF43926 for "123456789". Bytes that come in pieces:
/// `so_far` is the checksum of those before. One error of up to 32 bits in a row is always found, any other
/// with a chance of 1 - 2^-32.
uint32_t checksum(std::span<const std::byte> bytes, uint32_t so_far = 0);

}  // namespace espalier

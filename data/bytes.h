// What readers of binary files ask of bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace espalier {

inline bool starts_with(std::span<const uint8_t> bytes, std::string_view magic) {
  const auto byte = [](char c) { return static_cast<uint8_t>(c); };
  return bytes.size() >= magic.size() && std::ranges::equal(bytes.first(magic.size()), magic, {}, {}, byte);
}

/// The `count` bytes, at most 4, from `at` on as a number; 0 where they are not all there.
inline uint32_t big_endian(std::span<const uint8_t> bytes, size_t at, size_t count) {
  if (at > bytes.size() || bytes.size() - at < count) return 0;
  uint32_t number = 0;
  for (const uint8_t byte : bytes.subspan(at, count)) number = number << 8 | byte;
  return number;
}

/// The same, the lowest byte first.
inline uint32_t little_endian(std::span<const uint8_t> bytes, size_t at, size_t count) {
  if (at > bytes.size() || bytes.size() - at < count) return 0;
  uint32_t number = 0;
  for (size_t i = count; i-- > 0;) number = number << 8 | bytes[at + i];
  return number;
}

}  // namespace espalier

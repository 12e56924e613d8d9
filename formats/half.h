// Numbers of 16 bits in files: f16 (IEEE 754 binary16) and bf16 (core/bf16.h), to f32 and back.
#pragma once

#include <bit>
#include <cstdint>

#include "espalier/core/bf16.h"

namespace espalier {

inline float from_bf16(uint16_t bits) { return std::bit_cast<bf16>(bits); }
inline uint16_t to_bf16(float value) { return bf16(value).bits; }

inline float from_f16(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16, rest = bits & 0x7FFFu;
  const uint32_t magnitude = rest < 0x0400u   ? std::bit_cast<uint32_t>(static_cast<float>(rest) * 0x1p-24f)
                             : rest < 0x7C00u ? (rest << 13) + ((127u - 15u) << 23)
                                              : (rest << 13) + ((255u - 31u) << 23);  // infinity, NaN
  return std::bit_cast<float>(sign | magnitude);
}

/// To the nearest, of two that are as near to the even one; beyond 65504, the largest, and half a step more,
/// to infinity; a NaN stays one.
inline uint16_t to_f16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t rest = bits & 0x7FFFFFFFu;
  if (rest > 0x7F800000u) return sign | 0x7E00u;
  if (rest >= 0x47800000u) return sign | 0x7C00u;               // 65536 and more
  if (rest < 0x38800000u) {                                     // below 2^-14: a multiple of 2^-24
    const float magnitude = std::bit_cast<float>(rest) + 0.5f;  // whose last bit is 2^-24: the sum rounds
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(magnitude) - std::bit_cast<uint32_t>(0.5f));
  }
  const uint32_t rounded = rest + 0x0FFFu + (rest >> 13 & 1u);
  return sign | static_cast<uint16_t>((rounded >> 13) - ((127u - 15u) << 10));
}

}  // namespace espalier

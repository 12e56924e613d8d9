// bf16: a float without the lower 16 bits of its mantissa. Kernels load such numbers as floats, compute with
// floats, and round what they store.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#ifdef __CUDACC__
#define ESP_HOST_DEVICE __host__ __device__
#else
#define ESP_HOST_DEVICE
#endif

namespace espalier {

struct bf16 {
  uint16_t bits;

  bf16() = default;
  /// To the nearest, of two that are as near to the even one; a NaN stays a NaN.
  ESP_HOST_DEVICE constexpr bf16(float value)  // NOLINT: implicit, as between float and double
      : bits(rounded(std::bit_cast<uint32_t>(value))) {}
  ESP_HOST_DEVICE constexpr operator float() const {  // NOLINT
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }

 private:
  ESP_HOST_DEVICE static constexpr uint16_t rounded(uint32_t f) {
    if ((f & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<uint16_t>(f >> 16 | 0x40U);
    return static_cast<uint16_t>((f + 0x7FFFU + (f >> 16 & 1U)) >> 16);
  }
};
static_assert(sizeof(bf16) == 2 && std::is_trivially_copyable_v<bf16>);

}  // namespace espalier

// Memory of exactly so many bytes: whatever is written around it is a failure, and under AddressSanitizer
// what is read there too.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace espalier {

/// Starts at a cache line, full of NaN (or `inside`), so that what is read before it is written shows in the
/// result.
class Guarded {
 public:
  explicit Guarded(size_t bytes, float inside = std::numeric_limits<float>::quiet_NaN())
      : bytes_(bytes), memory_(bytes + 3 * guard, fill) {
    void* start = memory_.data() + guard;
    size_t room = bytes + 2 * guard;
    begin_ = static_cast<uint8_t*>(std::align(64, bytes, start, room));
    if (!std::isnan(inside)) std::fill_n(floats(), bytes / sizeof(float), inside);
    poison(true);
  }
  /// Holds these numbers.
  explicit Guarded(std::span<const float> values) : Guarded(values.size_bytes()) {
    std::copy(values.begin(), values.end(), floats());
  }
  ~Guarded() {
    poison(false);
    const auto whole = [](std::span<const uint8_t> bytes) {
      return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == fill; });
    };
    EXPECT_TRUE(whole(before())) << "written before a block of " << bytes_ << " bytes";
    EXPECT_TRUE(whole(behind())) << "written after a block of " << bytes_ << " bytes";
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  void* raw() { return begin_; }
  float* floats() { return reinterpret_cast<float*>(begin_); }
  std::span<const float> span() { return {floats(), bytes_ / sizeof(float)}; }

 private:
  static constexpr size_t guard = 8192;
  static constexpr uint8_t fill = 0xff;

  std::span<const uint8_t> before() const { return {memory_.data(), begin_}; }
  std::span<const uint8_t> behind() const { return {begin_ + bytes_, memory_.data() + memory_.size()}; }
  void poison([[maybe_unused]] bool on) const {
#ifdef __SANITIZE_ADDRESS__
    for (const auto& guard : {before(), behind()}) {
      if (on)
        ASAN_POISON_MEMORY_REGION(guard.data(), guard.size());
      else
        ASAN_UNPOISON_MEMORY_REGION(guard.data(), guard.size());
    }
#endif
  }

  size_t bytes_;
  std::vector<uint8_t> memory_;
  uint8_t* begin_;
};

}  // namespace espalier

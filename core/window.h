// Windows that slide over an image, as convolutions and pooling have them. An image's axes are down and
// across.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ostream>

namespace espalier {

/// A number for each axis of an image; a whole number stands for both.
struct ByAxis {
  int64_t down, across;
  constexpr ByAxis(int64_t both) : ByAxis(both, both) {}
  constexpr ByAxis(int64_t down_, int64_t across_) : down(down_), across(across_) {}

  constexpr bool alike() const { return down == across; }
  constexpr bool operator==(const ByAxis&) const = default;
  /// "2"; "2x1"
  friend std::ostream& operator<<(std::ostream& out, const ByAxis& by) {
    out << by.down;
    return by.alike() ? out : out << "x" << by.across;
  }
};

/// Pixels added on the sides of an image; a whole number stands for all four, two for above and below, left
/// and right.
struct Padding {
  int64_t top, left, bottom, right;
  constexpr Padding(int64_t all) : Padding(all, all) {}
  constexpr Padding(int64_t down, int64_t across) : Padding(down, across, down, across) {}
  constexpr Padding(int64_t top_, int64_t left_, int64_t bottom_, int64_t right_)
      : top(top_), left(left_), bottom(bottom_), right(right_) {}

  constexpr bool alike() const { return top == left && top == bottom && top == right; }
  constexpr int64_t least() const { return std::min(std::min(top, left), std::min(bottom, right)); }
  constexpr int64_t most() const { return std::max(std::max(top, left), std::max(bottom, right)); }
  constexpr bool operator==(const Padding&) const = default;
  /// "1"; "[0, 1, 2, 1]": top, left, bottom, right
  friend std::ostream& operator<<(std::ostream& out, const Padding& pad) {
    if (pad.alike()) return out << pad.top;
    return out << "[" << pad.top << ", " << pad.left << ", " << pad.bottom << ", " << pad.right << "]";
  }
};

/// One axis of a window: output i meets the pixels i stride - before + t dilation, t = 0 .. size-1, those of
/// them that there are.
struct WindowAxis {
  int64_t size, stride = 1, dilation = 1;
  int64_t before = 0, behind = 0;  ///< pixels added to the image
  bool ceil = false;               ///< a last window may reach past what is added, if it starts before it

  /// So that no size computed from an image of up to 2^31 - 1 pixels overflows, here or in 32 bits.
  static constexpr int64_t most = 1 << 16;

  constexpr int64_t extent() const { return (size - 1) * dilation + 1; }
  /// Whether strides and dilations are 1 to `most`, and padding is 0 to `most`.
  constexpr bool in_range() const {
    return stride >= 1 && dilation >= 1 && before >= 0 && behind >= 0 && stride <= most && dilation <= most &&
           before <= most && behind <= most;
  }
  /// Whether a window fits `n` pixels, all numbers being in range.
  constexpr bool fits(int64_t n) const {
    return in_range() && size >= 1 && size <= INT32_MAX && n <= INT32_MAX && extent() <= n + before + behind;
  }
  /// Outputs for `n` pixels, as PyTorch counts them.
  constexpr int64_t out(int64_t n) const {
    const int64_t room = n + before + behind - extent();
    if (!ceil) return room / stride + 1;
    const int64_t up = (room + stride - 1) / stride + 1;
    return (up - 1) * stride < n + before ? up : up - 1;
  }
};

}  // namespace espalier

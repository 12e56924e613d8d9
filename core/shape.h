// Shape: the sizes of a tensor's axes, outermost first. Up to five axes, stored inline.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>
#include <string>

#include "espalier/util/error.h"

namespace espalier {

class Shape {
 public:
  static constexpr int max_axes = 5;

  Shape() = default;  ///< no axes: a scalar, one element
  Shape(std::initializer_list<int64_t> sizes)
      : Shape(std::span<const int64_t>(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const int64_t> sizes) : axes_(static_cast<int>(sizes.size())) {
    ESP_CHECK(sizes.size() <= max_axes, "shape: ", sizes.size(), " axes, at most ", max_axes,
              " are supported");
    for (int i = 0; i < axes_; ++i) {
      ESP_CHECK(sizes[i] >= 0, "shape: axis ", i, " has negative size ", sizes[i]);
      sizes_[i] = sizes[i];
    }
  }

  int axes() const { return axes_; }
  /// Size of axis i; a negative i counts from the end.
  int64_t operator[](int i) const { return sizes_[i < 0 ? i + axes_ : i]; }
  int64_t elements() const {
    int64_t product = 1;
    for (int i = 0; i < axes_; ++i)
      ESP_CHECK(!__builtin_mul_overflow(product, sizes_[i], &product), "shape ", str(), ": too large");
    return product;
  }
  /// The product of all sizes after the first: elements of one row, one image, one filter.
  int64_t row_elements() const {
    int64_t product = 1;
    for (int i = 1; i < axes_; ++i) product *= sizes_[i];
    return product;
  }
  std::span<const int64_t> sizes() const { return {sizes_.data(), static_cast<size_t>(axes_)}; }
  /// The same shape with axis `axis` of size `size`.
  Shape with(int axis, int64_t size) const {
    Shape result = *this;
    result.sizes_[axis < 0 ? axis + axes_ : axis] = size;
    return result;
  }

  bool operator==(const Shape&) const = default;

  std::string str() const {
    std::string text = "[";
    for (int i = 0; i < axes_; ++i) text += (i ? ", " : "") + std::to_string(sizes_[i]);
    return text + "]";
  }

 private:
  std::array<int64_t, max_axes> sizes_{};  // unused axes stay 0, so == may compare all
  int axes_ = 0;
};

inline std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.str(); }

}  // namespace espalier

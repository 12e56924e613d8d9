#include "espalier/onnx/layout.h"

#include <algorithm>
#include <numeric>

namespace espalier {
namespace {

/// Axes after the first that are more than one number long.
std::vector<int> long_axes(const OnnxDims& dims) {
  std::vector<int> axes;
  for (size_t i = 1; i < dims.size(); ++i)
    if (dims[i] != 1) axes.push_back(static_cast<int>(i));
  return axes;
}

/// Axes before a reshape, and those that they become.
struct Piece {
  std::vector<int> before, after;
};

/// The shortest ones: products of the sizes agree at their ends.
std::vector<Piece> pieces(const OnnxDims& dims, const OnnxDims& to) {
  const std::vector<int> before = long_axes(dims), after = long_axes(to);
  std::vector<Piece> all;
  for (size_t i = 0, j = 0; i < before.size() || j < after.size();) {
    Piece piece;
    int64_t of_before = 1, of_after = 1;
    do {
      if (j >= after.size() || (i < before.size() && of_before <= of_after)) {
        if (i >= before.size()) return {};  // not as many numbers
        of_before *= dims[static_cast<size_t>(before[i])];
        piece.before.push_back(before[i++]);
      } else {
        of_after *= to[static_cast<size_t>(after[j])];
        piece.after.push_back(after[j++]);
      }
    } while (of_before != of_after);
    all.push_back(std::move(piece));
  }
  return all;
}

}  // namespace

OnnxLayout plain_layout(size_t axes) {
  OnnxLayout layout(axes);
  std::iota(layout.begin(), layout.end(), 0);
  return layout;
}

OnnxDims in_memory(const OnnxDims& dims, const OnnxLayout& layout) {
  OnnxDims sizes;
  for (const int axis : layout) sizes.push_back(dims[static_cast<size_t>(axis)]);
  return sizes;
}

OnnxLayout transposed_layout(const OnnxLayout& layout, const std::vector<int64_t>& axes) {
  OnnxLayout after;
  for (const int axis : layout)
    after.push_back(static_cast<int>(std::ranges::find(axes, int64_t{axis}) - axes.begin()));
  return after;
}

std::vector<int64_t> moves(const OnnxLayout& from, const OnnxLayout& to) {
  std::vector<int64_t> axes;
  for (const int axis : to) axes.push_back(std::ranges::find(from, axis) - from.begin());
  return axes;
}

std::optional<OnnxLayout> reshaped_layout(const OnnxDims& dims, const OnnxLayout& layout,
                                          const OnnxDims& to) {
  OnnxLayout lying;  // only long axes
  for (const int axis : layout)
    if (axis != 0 && dims[static_cast<size_t>(axis)] != 1) lying.push_back(axis);
  const std::vector<Piece> all = pieces(dims, to);
  OnnxLayout made;
  for (size_t at = 0; at < lying.size();) {
    const auto piece =
        std::ranges::find_if(all, [&](const Piece& p) { return p.before.front() == lying[at]; });
    if (piece == all.end()) return std::nullopt;
    for (const int axis : piece->before)
      if (at >= lying.size() || lying[at++] != axis) return std::nullopt;
    made.insert(made.end(), piece->after.begin(), piece->after.end());
  }
  // Axes of one number may stand anywhere: where an image has them, or else in front.
  OnnxLayout image;
  for (const int axis : image_layout)
    if (to.size() == 4 && axis != 0 && to[static_cast<size_t>(axis)] != 1) image.push_back(axis);
  if (to.size() == 4 && image == made) return image_layout;
  OnnxLayout result{0};
  for (size_t i = 1; i < to.size(); ++i)
    if (to[i] == 1) result.push_back(static_cast<int>(i));
  result.insert(result.end(), made.begin(), made.end());
  return result;
}

}  // namespace espalier

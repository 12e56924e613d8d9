// Layout: how a value of an ONNX graph, whose images are [N,C,H,W], lies in memory here, where they are
// [N,H,W,C]. A Transpose changes the layout and moves nothing, so that of the many that exporters write only
// those are left which something after them needs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace espalier {

using OnnxDims = std::vector<int64_t>;

/// Axis k in memory is ONNX's axis layout[k]; axis 0, the batch, stays first.
using OnnxLayout = std::vector<int>;

/// As ONNX has them: 0, 1, 2, ...
OnnxLayout plain_layout(size_t axes);
/// [N,H,W,C] of [N,C,H,W]
inline const OnnxLayout image_layout = {0, 2, 3, 1};

/// The sizes in memory.
OnnxDims in_memory(const OnnxDims& dims, const OnnxLayout& layout);
/// After ONNX's Transpose by `axes`, whose axis i was axis axes[i].
OnnxLayout transposed_layout(const OnnxLayout& layout, const std::vector<int64_t>& axes);
/// Which axes in memory `to` takes of `from`, in order: for ops::permute.
std::vector<int64_t> moves(const OnnxLayout& from, const OnnxLayout& to);
/// The layout of what a reshape to `to` makes, if it needs no number moved: each axis, or axes side by side
/// in ONNX and in memory, become others in their place. Nothing where numbers would have to move. Both have
/// one image: dims[0] is 1.
std::optional<OnnxLayout> reshaped_layout(const OnnxDims& dims, const OnnxLayout& layout, const OnnxDims& to);

}  // namespace espalier

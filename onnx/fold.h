// Folding: the nodes of an ONNX graph whose inputs are all known numbers, such as the arithmetic with shapes
// that exporters write around a reshape, are computed while a network is read, and gone after it.
#pragma once

#include <optional>
#include <vector>

#include "espalier/onnx/node.h"
#include "espalier/onnx/onnx_file.h"

namespace espalier {

/// Whether there is a rule for nodes of that op, whose inputs are all constants.
bool folds(const std::string& op);

/// What such a node puts out. `inputs`: one for each of the node's, null for one that is left out. Nothing
/// where it has several outputs; Error for numbers that do not fit the op, and for what would be more than
/// 2^26 of them.
std::optional<OnnxConstant> folded(const OnnxNode& node, const std::vector<const OnnxConstant*>& inputs);

/// The sizes [d0, d1, ...] as a constant.
OnnxConstant constant_of_sizes(const std::vector<int64_t>& sizes);

// What such nodes have in common with those of images (import_ops.h):

/// Whole numbers that a node may say.
using OnnxNumbers = std::optional<std::vector<int64_t>>;

/// Where an axis is; negative ones count from the end. Error for none.
size_t onnx_axis(int64_t axis, size_t axes);
/// The sizes with an axis of 1 at each of `axes`, as an Unsqueeze makes them.
std::vector<int64_t> unsqueezed_sizes(const std::vector<int64_t>& dims, const OnnxNumbers& axes);

/// The places first .. first + count - 1 of an axis.
struct OnnxRange {
  size_t axis;
  int64_t first, count;
};
/// What a Slice takes of sizes `dims`, one axis after the other. Error for steps other than 1.
std::vector<OnnxRange> slice_ranges(std::vector<int64_t> dims, const OnnxNumbers& starts,
                                    const OnnxNumbers& ends, const OnnxNumbers& axes,
                                    const OnnxNumbers& steps);

}  // namespace espalier

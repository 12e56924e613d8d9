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
/// Where an axis is; negative ones count from the end. Error for none.
size_t onnx_axis(int64_t axis, size_t axes);

}  // namespace espalier

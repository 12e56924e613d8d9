// Windows of convolutions and poolings, as ONNX's attributes say them.
#pragma once

#include "espalier/graph/ops.h"
#include "espalier/onnx/node.h"

namespace espalier {

/// A window's sizes, strides and padding, by ONNX's attributes.
struct OnnxWindows {
  ByAxis size = 1, stride = 1, dilation = 1;
  Padding pad = 0;
  bool ceil = false;
};

/// Of an image [N,H,W,C]. Error for what is no window, or none of two axes.
OnnxWindows onnx_windows(const OnnxNode& node, ByAxis size, const Shape& image);

}  // namespace espalier

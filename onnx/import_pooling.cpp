// What ONNX ops over windows of pixels are here: onnx.ai/onnx/operators has their definitions.
#include <algorithm>
#include <vector>

#include "espalier/onnx/fold.h"
#include "espalier/onnx/import_ops.h"
#include "espalier/onnx/windows.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {

OnnxWindows pooling_windows(const OnnxNode& node, const Variable& x) {
  const auto sizes = node.list("kernel_shape");
  ESP_CHECK(sizes && sizes->size() == 2, "expects a window of two axes");
  const OnnxWindows windows = onnx_windows(node, {(*sizes)[0], (*sizes)[1]}, x.shape());
  ESP_CHECK(windows.dilation == 1, "has dilated windows");
  return windows;
}

void max_pool(OnnxImporter& in, const OnnxNode& node) {
  const Variable x = in.image(node, 0);
  const OnnxWindows w = pooling_windows(node, x);
  in.put_image(node, ops::max_pool2d(x, w.size, w.stride, w.pad, w.ceil));
}

void average_pool(OnnxImporter& in, const OnnxNode& node) {
  const Variable x = in.image(node, 0);
  const OnnxWindows w = pooling_windows(node, x);
  if (w.size == 1 && w.stride == 1 && w.pad == 0)
    return in.put_image(node, x);  // an adaptive pool's that has nothing to do
  const Shape& s = x.shape();
  const bool all = w.size.down == s[1] && w.size.across == s[2];
  if (all && w.pad == 0) return in.put_image(node, ops::adaptive_average_pool2d(x, 1, 1));
  in.put_image(node, ops::average_pool2d(x, w.size, w.stride, w.pad, w.ceil,
                                         node.whole("count_include_pad").value_or(0) != 0));
}

void global_average_pool(OnnxImporter& in, const OnnxNode& node) {
  in.put_image(node, ops::adaptive_average_pool2d(in.image(node, 0), 1, 1));
}

void global_max_pool(OnnxImporter& in, const OnnxNode& node) {
  constexpr int64_t max_window = 15;  // of the kernels
  Variable x = in.image(node, 0);
  while (x.shape()[1] > 1 || x.shape()[2] > 1) {
    const ByAxis window{std::min(x.shape()[1], max_window), std::min(x.shape()[2], max_window)};
    x = ops::max_pool2d(x, window, window, 0, true);
  }
  in.put_image(node, x);
}

/// Of the pixels of images: a global average pooling.
void reduce_mean(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  std::vector<size_t> axes;
  for (const int64_t axis : in.numbers(node, "axes", 1).value_or(std::vector<int64_t>{}))
    axes.push_back(onnx_axis(axis, x.dims.size()));
  std::ranges::sort(axes);
  // Of [N,H,W,C], too, as networks for phones have it.
  const bool of_images =
      x.dims.size() == 4 && axes.size() == 2 && x.layout[0] == 0 &&
      std::ranges::is_permutation(
          axes, std::vector<size_t>{static_cast<size_t>(x.layout[1]), static_cast<size_t>(x.layout[2])});
  ESP_CHECK(of_images, "expected the mean over the pixels of images");
  OnnxValue mean = x;
  mean.variable = ops::adaptive_average_pool2d(x.variable, 1, 1);
  for (const size_t axis : axes) mean.dims[axis] = 1;
  if (node.whole("keepdims").value_or(1) != 0) return in.put(node, mean);
  in.put(node, in.reshaped(mean, {1, mean.dims[static_cast<size_t>(mean.layout[3])]}));
}

}  // namespace

OnnxHandlers onnx_pooling() {
  return {{"AveragePool", average_pool},
          {"GlobalAveragePool", global_average_pool},
          {"GlobalMaxPool", global_max_pool},
          {"MaxPool", max_pool},
          {"ReduceMean", reduce_mean}};
}

}  // namespace espalier

#include "espalier/onnx/windows.h"

#include <algorithm>
#include <string>
#include <vector>

#include "espalier/util/error.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

ByAxis by_axis(const OnnxNode& node, const char* attribute, ByAxis otherwise) {
  const auto list = node.list(attribute);
  if (!list) return otherwise;
  ESP_CHECK(list->size() == 2, "its ", attribute, " are for ", list->size(), " axes, expected images of two");
  return {(*list)[0], (*list)[1]};
}

/// As much that ceil(pixels / stride) windows fit, the odd one after the image, or before it.
void pad_alike(int64_t pixels, int64_t size, int64_t stride, int64_t dilation, bool before, int64_t& front,
               int64_t& back) {
  const int64_t windows = (pixels + stride - 1) / stride,
                all = std::max<int64_t>(0, (windows - 1) * stride + (size - 1) * dilation + 1 - pixels);
  front = before ? all - all / 2 : all / 2;
  back = all - front;
}

}  // namespace

OnnxWindows onnx_windows(const OnnxNode& node, ByAxis size, const Shape& image) {
  OnnxWindows windows{.size = size,
                      .stride = by_axis(node, "strides", 1),
                      .dilation = by_axis(node, "dilations", 1),
                      .ceil = node.whole("ceil_mode").value_or(0) != 0};
  const auto in_range = [](const ByAxis& by) {
    return std::min(by.down, by.across) >= 1 && std::max(by.down, by.across) <= WindowAxis::most;
  };
  ESP_CHECK(in_range(size) && in_range(windows.stride) && in_range(windows.dilation), "has windows of ", size,
            ", strides of ", windows.stride, " and dilations of ", windows.dilation, ", expected 1 to ",
            WindowAxis::most);
  const std::string by_itself = node.text("auto_pad").value_or("NOTSET");
  if (by_itself == "SAME_UPPER" || by_itself == "SAME_LOWER") {
    const bool before = by_itself == "SAME_LOWER";
    Padding& pad = windows.pad;
    pad_alike(image[1], size.down, windows.stride.down, windows.dilation.down, before, pad.top, pad.bottom);
    pad_alike(image[2], size.across, windows.stride.across, windows.dilation.across, before, pad.left,
              pad.right);
  } else if (by_itself == "NOTSET" || by_itself.empty()) {
    const auto pads = node.list("pads").value_or(std::vector<int64_t>(4, 0));
    ESP_CHECK(pads.size() == 4, "its pads are for ", pads.size() / 2, " axes, expected images of two");
    windows.pad = {pads[0], pads[1], pads[2], pads[3]};
  } else {
    ESP_CHECK(by_itself == "VALID", "its auto_pad is '", printable(by_itself),
              "', expected NOTSET, SAME_UPPER, SAME_LOWER or VALID");
  }
  return windows;
}

}  // namespace espalier

// How ops of windows record them: one number where axes or sides are alike, which is what files had before
// there were others, else a list (graph/op.h: OpAttribute::Lists).
#pragma once

#include "espalier/autograd/variable.h"
#include "espalier/core/window.h"

namespace espalier::ops {

inline Attribute to_attribute(const ByAxis& by) {
  if (by.alike()) return by.down;
  return std::vector<int64_t>{by.down, by.across};
}
inline Attribute to_attribute(const Padding& pad) {
  if (pad.alike()) return pad.top;
  return std::vector<int64_t>{pad.top, pad.left, pad.bottom, pad.right};
}

}  // namespace espalier::ops

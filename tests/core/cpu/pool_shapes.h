// The shapes that pooling is tested on, on either device.
#pragma once

#include <string>
#include <vector>

#include "core/window_name.h"
#include "espalier/core/kernels.h"

namespace espalier {

inline std::string name(const PoolShape& s) {
  return join("n", s.n, "h", s.h, "w", s.w, "c", s.c, "k", s.k, "s", s.stride, "p", name(s.pad),
              s.ceil_mode ? "ceil" : "", s.count_include_pad ? "" : "alone");
}

/// What is not alike on both axes and all sides; and windows that reach past the padding, or whose padding
/// does not count. Channels in fours and not.
inline std::vector<PoolShape> uneven_pool_shapes() {
  std::vector<PoolShape> shapes;
  for (const bool ceil : {false, true})
    for (const bool counts : {true, false})
      for (const PoolShape& s : {PoolShape{2, 9, 7, 8, {3, 2}, {2, 1}},
                                 {1, 7, 10, 17, 3, 2, {0, 0, 1, 1}},
                                 {2, 8, 6, 5, {1, 3}, {1, 2}, {0, 1}},
                                 {1, 13, 12, 20, {5, 4}, {3, 2}, {2, 1, 0, 2}},
                                 {3, 6, 6, 4, 3, 2},
                                 {2, 7, 8, 36, 3, 2, 1},
                                 {1, 4, 5, 7, 2, 3, 1},
                                 {1, 9, 8, 12, 2, {2, 5}, {1, 0, 0, 1}},
                                 {1, 1, 2, 3, {2, 3}, {1, 2}, 1}}) {
        PoolShape shape = s;
        shape.ceil_mode = ceil;
        shape.count_include_pad = counts;
        shapes.push_back(shape);
      }
  return shapes;
}

}  // namespace espalier

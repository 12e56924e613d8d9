// Padding in a test's name, which takes no brackets.
#pragma once

#include <string>

#include "espalier/core/window.h"
#include "espalier/util/error.h"

namespace espalier {

inline std::string name(const Padding& pad) {
  return pad.alike() ? join(pad.top) : join(pad.top, "_", pad.left, "_", pad.bottom, "_", pad.right);
}

}  // namespace espalier

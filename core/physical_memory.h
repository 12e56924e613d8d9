// How much memory this machine has, so that what cannot fit is refused before it is asked for.
#pragma once

#include <cstdint>

namespace espalier {

/// In bytes.
int64_t physical_memory();

}  // namespace espalier

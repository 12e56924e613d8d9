// What a build without cuda/ has in its place: each kernel of core/kernels.h in espalier::cuda, which nothing
// calls, as no tensor is on a card there. So whoever calls kernels is the same object code in all builds.
//
// Included before kernels.h by f32.cpp, where Real is float and kernels without a Real are defined, and by
// bf16.cpp, where Real is bf16 and they are only declared.
#pragma GCC diagnostic ignored "-Wunused-parameter"

#include "espalier/core/bf16.h"

namespace espalier {
[[noreturn]] void built_without_cuda();
}

#define ESP_KERNEL(result, name, ...)              \
  namespace cpu {                                  \
  result name(__VA_ARGS__);                        \
  }                                                \
  namespace cuda {                                 \
  result name(__VA_ARGS__) ESP_DEFINITION_OF_PLAIN \
  }
#define ESP_KERNEL_REAL(result, name, ...)                       \
  namespace cuda {                                               \
  result name(__VA_ARGS__) { ::espalier::built_without_cuda(); } \
  }

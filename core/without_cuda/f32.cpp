#define ESP_DEFINITION_OF_PLAIN \
  { ::espalier::built_without_cuda(); }
#include "espalier/core/without_cuda/kernels.h"

namespace espalier::cuda {
using Real = float;
}
#include "espalier/core/kernels.h"
#include "espalier/util/error.h"

namespace espalier {

void built_without_cuda() { fail("a kernel was called on a card by a program that is built without CUDA"); }

}  // namespace espalier

#define ESP_DEFINITION_OF_PLAIN ;
#include "espalier/core/without_cuda/kernels.h"

namespace espalier::cuda {
using Real = bf16;
}
#include "espalier/core/kernels.h"

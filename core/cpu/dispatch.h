// Calls the best version of a Highway kernel that ESPALIER_ISA and the processor allow.
#pragma once

#include <hwy/highway.h>

#include "espalier/core/isa.h"

namespace espalier {

/// Of one kernel's versions the one for isa().
template <class Kernel>
Kernel* version(Kernel* baseline, Kernel* avx2, Kernel* avx512) {
  switch (isa()) {
    case Isa::avx512:
      return avx512;
    case Isa::avx2:
      return avx2;
    case Isa::baseline:
      break;
  }
  return baseline;
}

}  // namespace espalier

// Not by HWY_DYNAMIC_DISPATCH: that needs Highway's library, which times the processor's clock whenever it is
// loaded, in 3.5 of the 9 ms that a short command took.
#if HWY_TARGETS & HWY_AVX2
#define ESP_AVX2_VERSION(function) &N_AVX2::function
#else  // the compiler's options or the processor rule it out
#define ESP_AVX2_VERSION(function) &HWY_STATIC_DISPATCH(function)
#endif
#if HWY_TARGETS & HWY_AVX3
#define ESP_AVX512_VERSION(function) &N_AVX3::function
#else
#define ESP_AVX512_VERSION(function) ESP_AVX2_VERSION(function)
#endif

/// ESP_DISPATCH(add)(y, a, b, n).
#define ESP_DISPATCH(function)                                                      \
  (*::espalier::version(&HWY_STATIC_DISPATCH(function), ESP_AVX2_VERSION(function), \
                        ESP_AVX512_VERSION(function)))

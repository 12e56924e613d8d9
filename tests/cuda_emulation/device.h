// What a .cu file finds in the language and its headers when nvcc compiles it, for the host compiler.
// Included before every .cu file; types and the runtime's functions come from NVIDIA's own headers.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "espalier/cuda_emulation/block.h"

// Such memory begins with what the last block left in it.
#undef __shared__
#if defined(__SANITIZE_ADDRESS__)
#define __shared__ static  // one block at a time runs then; the sanitizer guards the ends of such arrays
#else
#define __shared__ static thread_local  // a block runs wholly on one thread of the system
#endif
#undef __launch_bounds__
#define __launch_bounds__(...)

// Variables, not macros: members of the runtime's structs have these names, too.
extern constinit thread_local uint3 threadIdx, blockIdx;
extern constinit thread_local dim3 blockDim, gridDim;
constexpr int warpSize = 32;

#include "espalier/cuda_emulation/atomics.h"     // IWYU pragma: export
#include "espalier/cuda_emulation/intrinsics.h"  // IWYU pragma: export
#include "espalier/cuda_emulation/warp.h"        // IWYU pragma: export

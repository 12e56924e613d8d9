// What the stand-ins for cuBLASLt and cuDNN share.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace espalier::emulation {

/// What the espalier::cpu kernel that answers a call reads and writes, in words for messages.
struct Operand {
  const char* name;
  const void* address;
  size_t bytes;
  size_t alignment;
};
/// "" or which of the operands is no device memory, or not aligned.
std::string refusal(const std::vector<Operand>& operands);

/// n numbers as tensor cores read them: to 10 bits of mantissa, half away from zero.
std::vector<float> round_to_tf32(const float* x, size_t n);

/// Puts a call's work into the stream and counts it.
cudaError_t enqueue_library_call(cudaStream_t stream, std::function<void()> work);

}  // namespace espalier::emulation

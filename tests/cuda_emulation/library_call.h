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

/// An operand of either type as the floats that espalier::cpu computes with. What is bf16 is widened, and one
/// that is written to, `changed`, is rounded back at the end.
class AsFloats {
 public:
  AsFloats(void* address, int64_t n, bool is_bf16, bool changed);
  AsFloats(const AsFloats&) = delete;
  AsFloats& operator=(const AsFloats&) = delete;
  ~AsFloats();
  float* data() { return rounded_ ? widened_.data() : static_cast<float*>(address_); }

 private:
  void* address_;
  bool rounded_, changed_;
  std::vector<float> widened_;
};

/// Puts a call's work into the stream and counts it.
cudaError_t enqueue_library_call(cudaStream_t stream, std::function<void()> work);

}  // namespace espalier::emulation

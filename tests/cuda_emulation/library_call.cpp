#include "espalier/cuda_emulation/library_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "espalier/core/bf16.h"
#include "espalier/cuda_emulation/emulation.h"
#include "espalier/cuda_emulation/memory.h"
#include "espalier/cuda_emulation/streams.h"

namespace espalier::emulation {

std::string refusal(const std::vector<Operand>& operands) {
  for (const Operand& operand : operands) {
    if (!on_device(operand.address, operand.bytes))
      return fmt::format("{} is not {} bytes of device memory: {}", operand.name, operand.bytes,
                         describe(operand.address));
    if (reinterpret_cast<uintptr_t>(operand.address) % operand.alignment != 0)
      return fmt::format("{} is not aligned to {} bytes", operand.name, operand.alignment);
  }
  return {};
}

std::vector<float> round_to_tf32(const float* x, size_t n) {
  std::vector<float> rounded(x, x + n);
  for (float& value : rounded)
    if (std::isfinite(value))
      value = std::bit_cast<float>((std::bit_cast<uint32_t>(value) + 0x1000U) & ~0x1fffU);
  return rounded;
}

AsFloats::AsFloats(void* address, int64_t n, bool is_bf16, bool changed)
    : address_(address), rounded_(is_bf16 && address), changed_(changed) {
  const auto* const from = static_cast<const bf16*>(address);
  if (rounded_) widened_.assign(from, from + n);
}
AsFloats::~AsFloats() {
  if (rounded_ && changed_) std::ranges::copy(widened_, static_cast<bf16*>(address_));
}

cudaError_t enqueue_library_call(cudaStream_t stream, std::function<void()> work) {
  if (!captures(stream)) ++counters().library_calls;
  return enqueue(stream, std::move(work));
}

}  // namespace espalier::emulation

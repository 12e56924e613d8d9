#include "espalier/cuda_emulation/problems.h"

#include <fmt/format.h>

#include "espalier/cuda_emulation/emulation.h"
#include "espalier/cuda_emulation/streams.h"

namespace espalier::emulation {

namespace {

cudaError_t last = cudaSuccess, broken = cudaSuccess;
std::string explanation;

struct Known {
  cudaError_t code;
  const char *name, *text;
};
constexpr Known known[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorIllegalState, "cudaErrorIllegalState",
     "the operation cannot be performed in the present state"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
};
const Known* find(cudaError_t code) {
  for (const Known& one : known)
    if (one.code == code) return &one;
  return nullptr;
}

}  // namespace

std::recursive_mutex& api_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

cudaError_t refuse(cudaError_t code, const std::string& why) {
  if (code != cudaSuccess) last = code;
  if (broken == cudaSuccess) explanation = why;
  return code;
}
void break_device(cudaError_t code, const std::string& why) {
  if (broken != cudaSuccess) return;
  broken = code;
  explanation = why;
}
cudaError_t device_error() { return broken; }
std::string last_explanation() {
  const std::scoped_lock lock(api_mutex());
  return explanation;
}

Counters& counters() {
  static Counters counters;
  return counters;
}

void reset() {
  const std::scoped_lock lock(api_mutex());
  drop_all();
  last = broken = cudaSuccess;
  explanation.clear();
}

extern "C" {

cudaError_t cudaGetLastError() {
  const std::scoped_lock lock(api_mutex());
  const cudaError_t error = cudaPeekAtLastError();
  last = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() { return broken != cudaSuccess ? broken : last; }

const char* cudaGetErrorName(cudaError_t error) {
  const Known* const one = find(error);
  return one != nullptr ? one->name : "an error that the emulator does not know by name";
}
const char* cudaGetErrorString(cudaError_t error) {
  const std::scoped_lock lock(api_mutex());
  static thread_local std::string text;
  const Known* const one = find(error);
  text = one != nullptr ? one->text : fmt::format("error {}", static_cast<int>(error));
  if (error != cudaSuccess && error != cudaErrorNotReady && !explanation.empty())
    text += fmt::format(" [emulated: {}]", explanation);
  return text.c_str();
}

}  // extern "C"

}  // namespace espalier::emulation

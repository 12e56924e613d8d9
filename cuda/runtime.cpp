#include "espalier/cuda/runtime.h"

#include <string_view>

#include "espalier/cuda/device.h"
#include "espalier/util/error.h"

namespace espalier::cuda {
namespace {

[[noreturn]] void fail_call(const char* call, const std::string& text, const std::source_location& where) {
  const std::string_view path = where.file_name();
  throw DeviceError(join("cuda: ", call, " failed: ", text, " (", path.substr(path.rfind('/') + 1), ":",
                         where.line(), ")"));
}

}  // namespace

void check(cudaError_t status, const char* call, const std::source_location& where) {
  if (status == cudaSuccess) [[likely]]
    return;
  cudaGetLastError();  // or the next call that is checked reports it once more
  fail_call(call, join(cudaGetErrorString(status), " (", cudaGetErrorName(status), ")"), where);
}

void check(cublasStatus_t status, const char* call, const std::source_location& where) {
  if (status != CUBLAS_STATUS_SUCCESS) [[unlikely]]
    fail_call(call, cublasLtGetStatusString(status), where);
}

void check(cudnnStatus_t status, const char* call, const std::source_location& where) {
  if (status == CUDNN_STATUS_SUCCESS) [[likely]]
    return;
  char details[512] = "";
  cudnnGetLastErrorString(details, sizeof details);
  std::string text = cudnnGetErrorString(status);
  if (details[0]) text += join(": ", details);
  for (char& c : text)
    if (c == '\n') c = ' ';
  fail_call(call, text, where);
}

// The stream and the handles live as long as the process: at its end the driver may be gone before them.

cudaStream_t stream() {
  bind_device();
  static const cudaStream_t made = [] {
    cudaStream_t fresh;
    ESP_CUDA(cudaStreamCreateWithFlags(&fresh, cudaStreamNonBlocking));
    return fresh;
  }();
  return made;
}

cublasLtHandle_t cublas() {
  bind_device();
  static const cublasLtHandle_t made = [] {
    cublasLtHandle_t fresh;
    ESP_CUDA(cublasLtCreate(&fresh));
    return fresh;
  }();
  return made;
}

cudnnHandle_t cudnn() {
  bind_device();
  static const cudnnHandle_t made = [] {
    cudnnHandle_t fresh;
    ESP_CUDA(cudnnCreate(&fresh));
    ESP_CUDA(cudnnSetStream(fresh, stream()));
    return fresh;
  }();
  return made;
}

}  // namespace espalier::cuda

// The CUDA runtime as this folder uses it: one stream, errors with the call and its place, handles of the
// libraries.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <cudnn_graph.h>

#include <source_location>

#include "espalier/core/cuda_device.h"

namespace espalier::cuda {

/// Throws espalier::Error if `status` is an error: "cuda: CALL failed: TEXT (file:line)".
void check(cudaError_t status, const char* call,
           const std::source_location& where = std::source_location::current());
void check(cublasStatus_t status, const char* call,
           const std::source_location& where = std::source_location::current());
void check(cudnnStatus_t status, const char* call,
           const std::source_location& where = std::source_location::current());
/// ESP_CUDA(cudaMemcpyAsync(...)): calls and checks.
#define ESP_CUDA(call) ::espalier::cuda::check((call), #call)

/// The stream that everything of this process goes to; made with the device's context at the first call.
cudaStream_t stream();
cublasLtHandle_t cublas();
cudnnHandle_t cudnn();
/// Bytes of scratch memory for so many, with what follows them as aligned as they are.
constexpr size_t aligned_bytes(size_t bytes) { return (bytes + 255) / 256 * 256; }
/// Streaming multiprocessors of the card: how many blocks a grid that strides should have is a few times
/// this.
int multiprocessors();

}  // namespace espalier::cuda

// cuDNN for the emulator: its handle and its version.
#include <cudnn_graph.h>

#include <cstdio>

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

extern "C" {

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  *stream = handle->stream;
  return CUDNN_STATUS_SUCCESS;
}
size_t cudnnGetVersion() { return CUDNN_VERSION; }
const char* cudnnGetErrorString(cudnnStatus_t status) {
  static thread_local char text[32];
  std::snprintf(text, sizeof text, "cuDNN status %d", static_cast<int>(status));
  return text;
}
void cudnnGetLastErrorString(char* text, size_t bytes) { std::snprintf(text, bytes, "%s", ""); }

}  // extern "C"

// A CUDA graph, captured from the stream to which everything goes.
#include <exception>
#include <memory>

#include "espalier/cuda/runtime.h"

namespace espalier::cuda {
namespace {

thread_local bool captures = false;

struct Destroy {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};
using Captured = std::unique_ptr<CUgraph_st, Destroy>;

}  // namespace

bool Graph::capturing() { return captures; }

Graph::Graph(const std::function<void()>& work) {
  // What other threads do meanwhile, say the one that reads images, is none of the capture's business.
  ESP_CUDA(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal));
  captures = true;
  std::exception_ptr error;
  try {
    work();
  } catch (...) {
    error = std::current_exception();
  }
  captures = false;
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream(), &graph);
  const Captured captured(graph);
  if (error) {
    cudaGetLastError();  // that the capture is void is no other error
    std::rethrow_exception(error);
  }
  check(ended, "cudaStreamEndCapture");
  size_t nodes = 0;
  ESP_CUDA(cudaGraphGetNodes(graph, nullptr, &nodes));
  size_ = static_cast<int64_t>(nodes);
  ESP_CUDA(cudaGraphInstantiate(&executable_, graph, 0));
}

// The driver keeps what it needs until the last launch is done.
Graph::~Graph() {
  if (cudaGraphExecDestroy(executable_) != cudaSuccess) cudaGetLastError();
}

void Graph::launch() { ESP_CUDA(cudaGraphLaunch(executable_, stream())); }

}  // namespace espalier::cuda

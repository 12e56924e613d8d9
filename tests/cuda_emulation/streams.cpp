#include "espalier/cuda_emulation/streams.h"

#include <fmt/format.h>

#include <chrono>
#include <deque>
#include <memory>
#include <vector>

#include "espalier/cuda_emulation/emulation.h"
#include "espalier/cuda_emulation/memory.h"
#include "espalier/cuda_emulation/problems.h"

using Work = std::function<void()>;
using Clock = std::chrono::steady_clock;

struct CUgraph_st {
  std::vector<Work> nodes;
  bool invalid = false;  // the capture met a call that it does not allow
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<Work>> nodes;
};
struct CUstream_st {
  std::deque<Work> queue;
  uint64_t asked = 0, done = 0;
  CUgraph_st* capture = nullptr;
};
struct CUevent_st {
  CUstream_st* stream = nullptr;  // where it was last recorded
  uint64_t position = 0;
  CUgraph_st* capture = nullptr;
  Clock::time_point time{};
};

namespace espalier::emulation {

namespace {

constexpr size_t longest_queue = 8192;

struct Streams {
  CUstream_st null;
  std::vector<std::unique_ptr<CUstream_st>> all;  // destroyed ones, too: an event may know them
};
Streams& streams() {
  static Streams streams;
  return streams;
}
CUstream_st* of(cudaStream_t stream) {
  const bool is_null = stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread;
  return is_null ? &streams().null : stream;
}

void run_up_to(CUstream_st* stream, uint64_t position) {
  if (stream->done >= position) return;
  const DeviceWork open;
  while (stream->done < position && !stream->queue.empty()) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    ++stream->done;
    if (device_error() == cudaSuccess) work();
  }
}

CUgraph_st* any_capture() {
  for (const auto& stream : streams().all)
    if (stream->capture != nullptr) return stream->capture;
  return nullptr;
}

}  // namespace

cudaError_t enqueue(cudaStream_t handle, Work work) {
  if (device_error() != cudaSuccess) return device_error();
  CUstream_st* const stream = of(handle);
  if (stream->capture != nullptr) {
    stream->capture->nodes.push_back(std::move(work));
    return cudaSuccess;
  }
  stream->queue.push_back(std::move(work));
  ++stream->asked;
  if (stream->queue.size() >= longest_queue) run_up_to(stream, stream->asked);
  return cudaSuccess;
}

bool captures(cudaStream_t stream) { return of(stream)->capture != nullptr; }

cudaError_t refuse_in_capture(const char* call) {
  CUgraph_st* const capture = any_capture();
  if (capture == nullptr) return cudaSuccess;
  capture->invalid = true;
  return refuse(cudaErrorStreamCaptureUnsupported, fmt::format("{} while a stream captures", call));
}

cudaError_t wait_for(cudaStream_t stream) {
  ++counters().synchronisations;
  run_up_to(of(stream), of(stream)->asked);
  return device_error();
}
cudaError_t wait_for_all() {
  ++counters().synchronisations;
  const DeviceWork open;
  run_up_to(&streams().null, streams().null.asked);
  for (const auto& stream : streams().all) run_up_to(stream.get(), stream->asked);
  return device_error();
}

void drop_all() {
  const auto drop = [](CUstream_st& stream) {
    stream.queue.clear();
    stream.done = stream.asked;
    stream.capture = nullptr;
  };
  drop(streams().null);
  for (const auto& stream : streams().all) drop(*stream);
}

extern "C" {

// --- streams
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const std::scoped_lock lock(api_mutex());
  streams().all.push_back(std::make_unique<CUstream_st>());
  *stream = streams().all.back().get();
  return device_error();
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, 0); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::scoped_lock lock(api_mutex());
  run_up_to(of(stream), of(stream)->asked);
  return device_error();
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::scoped_lock lock(api_mutex());
  if (const auto error = refuse_in_capture("cudaStreamSynchronize")) return error;
  return wait_for(stream);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const std::scoped_lock lock(api_mutex());
  if (const auto error = refuse_in_capture("cudaStreamQuery")) return error;
  if (device_error() != cudaSuccess) return device_error();
  return of(stream)->done == of(stream)->asked ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaDeviceSynchronize() {
  const std::scoped_lock lock(api_mutex());
  if (const auto error = refuse_in_capture("cudaDeviceSynchronize")) return error;
  return wait_for_all();
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t call, void* argument) {
  const std::scoped_lock lock(api_mutex());
  return enqueue(stream, [=] { call(argument); });
}

// --- events
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::scoped_lock lock(api_mutex());
  if (event->stream != nullptr) run_up_to(event->stream, event->position);
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  const std::scoped_lock lock(api_mutex());
  CUstream_st* const stream = of(handle);
  event->capture = stream->capture;
  if (stream->capture != nullptr) return cudaSuccess;
  event->stream = stream;
  event->position = stream->asked + 1;
  return enqueue(handle, [event] { event->time = Clock::now(); });
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  const std::scoped_lock lock(api_mutex());
  if (event->capture != nullptr) {  // joins the capture
    of(handle)->capture = event->capture;
    return cudaSuccess;
  }
  if (event->stream == nullptr) return cudaSuccess;
  return enqueue(handle, [other = event->stream, position = event->position] { run_up_to(other, position); });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::scoped_lock lock(api_mutex());
  if (const auto error = refuse_in_capture("cudaEventSynchronize")) return error;
  ++counters().synchronisations;
  if (event->stream != nullptr) run_up_to(event->stream, event->position);
  return device_error();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::scoped_lock lock(api_mutex());
  if (device_error() != cudaSuccess) return device_error();
  return event->stream == nullptr || event->stream->done >= event->position ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const std::scoped_lock lock(api_mutex());
  if (begin->stream == nullptr || end->stream == nullptr)
    return refuse(cudaErrorInvalidResourceHandle, "an event that was never recorded");
  if (cudaEventQuery(begin) != cudaSuccess || cudaEventQuery(end) != cudaSuccess) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return device_error();
}

// --- captured graphs
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const std::scoped_lock lock(api_mutex());
  if (of(stream) == &streams().null || stream->capture != nullptr)
    return refuse(cudaErrorStreamCaptureUnsupported,
                  "the null stream, or one that captures, cannot begin to");
  stream->capture = new CUgraph_st;
  return device_error();
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::scoped_lock lock(api_mutex());
  CUgraph_st* const captured = of(stream)->capture;
  *graph = nullptr;
  if (captured == nullptr) return refuse(cudaErrorIllegalState, "the stream does not capture");
  for (const auto& other : streams().all)
    if (other->capture == captured) other->capture = nullptr;
  if (!captured->invalid) {
    *graph = captured;
    return device_error();
  }
  delete captured;
  return refuse(cudaErrorStreamCaptureInvalidated, "the capture met a call that it does not allow");
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const std::scoped_lock lock(api_mutex());
  const CUgraph_st* const capture = of(stream)->capture;
  *status = capture == nullptr ? cudaStreamCaptureStatusNone
            : capture->invalid ? cudaStreamCaptureStatusInvalidated
                               : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (nodes != nullptr) return refuse(cudaErrorInvalidValue, "nodes of a graph can only be counted here");
  *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{std::make_shared<const std::vector<Work>>(graph->nodes)};
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const std::scoped_lock lock(api_mutex());
  ++counters().graph_launches;
  counters().graph_nodes += static_cast<int64_t>(executable->nodes->size());
  return enqueue(stream, [nodes = executable->nodes] {
    for (const Work& node : *nodes)
      if (device_error() == cudaSuccess) node();
  });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

}  // extern "C"

}  // namespace espalier::emulation

// Streams as queues. Nothing runs until the host waits: results that are read too early are never there.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>

namespace espalier::emulation {

/// Queues work for the device after what the stream holds, or into the graph that it captures.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);
/// The stream captures a graph.
bool captures(cudaStream_t stream);
/// For a call that a capture does not allow: an error if any stream captures, and the capture is void.
cudaError_t refuse_in_capture(const char* call);

/// The host waits: for one stream, for all.
cudaError_t wait_for(cudaStream_t stream);
cudaError_t wait_for_all();
/// What waits in queues never runs.
void drop_all();

}  // namespace espalier::emulation

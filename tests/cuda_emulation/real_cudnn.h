// cuDNN's own library, which needs neither a card nor a driver to check graphs and to choose engines for a
// card that is described to it.
#pragma once

#include <cudnn_graph.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

namespace espalier::emulation {

/// While one is alive LeakSanitizer looks away: what NVIDIA's libraries keep for good is no leak of ours.
#if defined(__SANITIZE_ADDRESS__)
using KeepsMemory = __lsan::ScopedDisabler;
#else
struct KeepsMemory {
  ~KeepsMemory() {}
};
#endif

struct RealCudnn {
  decltype(&cudnnBackendCreateDescriptor) create;
  decltype(&cudnnBackendDestroyDescriptor) destroy;
  decltype(&cudnnBackendFinalize) finalize;
  decltype(&cudnnBackendSetAttribute) set;
  decltype(&cudnnBackendGetAttribute) get;
  decltype(&cudnnGetLastErrorString) last_error;
  decltype(&cudnnGetVersion) version;
  cudnnBackendDescriptor_t card;  ///< an H100
};

/// Ends the program where the library cannot be used: graphs would go unchecked.
const RealCudnn& real_cudnn();

}  // namespace espalier::emulation

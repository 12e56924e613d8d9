// cuDNN's own library, which needs neither a card nor a driver to check graphs and to choose engines for a
// card that is described to it.
#pragma once

#include <cudnn_graph.h>

namespace espalier::emulation {

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

/// Null where the library is not on this machine: graphs go unchecked then.
const RealCudnn* real_cudnn();

}  // namespace espalier::emulation

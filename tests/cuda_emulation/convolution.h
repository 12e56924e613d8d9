// A graph of cuDNN that is one convolution, in one of its three directions, answered by espalier::cpu.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "espalier/core/kernels.h"
#include "espalier/cuda_emulation/cudnn_node.h"

namespace espalier::emulation {

struct Convolution {
  enum Direction : uint8_t { forward, backward_data, backward_weights } direction;
  ConvShape shape;
  int64_t image, weights, output;  ///< the tensors' ids
  bool accumulate;
};

/// "" or why this graph is none that can be answered.
std::string understand(Convolution& convolution, const Node& graph);

/// image, weights and output: x, w, y or their gradients.
void compute(const Convolution& convolution, float* image, float* weights, float* output, bool tf32);

}  // namespace espalier::emulation

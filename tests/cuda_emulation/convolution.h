// A graph of cuDNN that is one convolution, in one of its three directions, answered by espalier::cpu; a
// forward one may have a residual, a bias and relu after it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "espalier/core/kernels.h"
#include "espalier/cuda_emulation/cudnn_node.h"

namespace espalier::emulation {

struct Convolution {
  enum Direction : uint8_t { forward, backward_data, backward_weights } direction;
  ConvShape shape{};
  int64_t image, weights, output;    ///< the tensors' ids
  int64_t bias = -1, residual = -1;  ///< or -1: there is none
  bool accumulate, relu = false;
  bool bf16 = false;  ///< all tensors in memory; else f32
};

/// "" or why this graph is none that can be answered.
std::string understand(Convolution& convolution, const Node& graph);

/// x, w, y or their gradients; null what there is none of
struct ConvolutionPointers {
  void *image, *weights, *output, *bias, *residual;
};
void compute(const Convolution& convolution, const ConvolutionPointers& at, bool tf32);

}  // namespace espalier::emulation

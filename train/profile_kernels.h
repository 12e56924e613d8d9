// The kernels that the ops of a network run, as a step or inference runs them, ready to be timed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "espalier/autograd/variable.h"

namespace espalier {

/// One kernel on random operands, which `call` keeps alive.
struct KernelCall {
  std::string kernel;     ///< as core/kernels.h calls it: "linear_backward_data"
  std::string algorithm;  ///< which of several serves it on the CPU: "winograd"; empty where there is one
  int64_t macs = 0;       ///< of a product or a convolution, by the direct algorithm
  int64_t bytes = 0;      ///< what it must read and write, each pass over memory counted
  std::function<void()> call;
};

/// How a tape of one image is run.
struct Pass {
  int64_t batch = 1;               ///< images
  bool training = true;            ///< with the backward kernels, as a step needs them: no gradient of images
  Device device = Device::cpu;     ///< meta: a card is meant, and `call` does nothing
  DType activations = DType::f32;  ///< of images, of what ops put out and of its gradients, on meta; else f32
};

/// Visits the ops of `tape` in their order, each with the kernels that it runs, forward first: none where it
/// is free, or is none of those that a profile has rows for.
void for_each_kernel(
    const Tape& tape, const Pass& pass,
    const std::function<void(const TapeEntry& entry, const std::vector<KernelCall>& calls)>& visit);

}  // namespace espalier

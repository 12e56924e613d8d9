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
  std::string algorithm;  ///< which of several serves it: "winograd"; empty where there is one
  int64_t macs = 0;       ///< of a product or a convolution, by the direct algorithm
  int64_t bytes = 0;      ///< of another: what it must read and write, each pass over memory counted
  std::function<void()> call;
};

/// An op of a tape of one image, at a batch of them.
struct OpContext {
  const Tape& tape;
  const TapeEntry& entry;
  int64_t batch;
  bool training;                ///< with the backward kernels
  std::vector<bool> gradients;  ///< which of the inputs need one
};

/// What the op runs, forward first; empty where that is nothing, or nothing worth a row.
std::vector<KernelCall> kernels_of(const OpContext& op);

}  // namespace espalier

// The kernels that the ops of a graph run, as a step or inference runs them, ready to be timed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/graph/op.h"

namespace espalier {

/// One kernel on random operands, which `call` keeps alive.
struct KernelCall {
  std::string kernel;     ///< as core/kernels.h calls it: "linear_backward_data"
  std::string algorithm;  ///< which of several serves it on the CPU: "winograd"; empty where there is one
  int64_t macs = 0;       ///< of a product or a convolution, by the direct algorithm
  int64_t bytes = 0;      ///< what it must read and write, each pass over memory counted
  std::function<void()> call;
};

/// How the graph of one image is run.
struct Pass {
  int64_t batch = 1;               ///< images
  bool training = true;            ///< with the backward kernels, as a step needs them: no gradient of images
  Device device = Device::cpu;     ///< meta: a card is meant, and `call` does nothing
  DType activations = DType::f32;  ///< of images, of what ops put out and of its gradients, on meta; else f32
};

/// What a row's `kernels` is asked about.
struct KernelContext {
  const OpCall& call;
  const Pass& pass;
  const std::vector<bool>&gradients, &adds;  ///< of each of the node's inputs

  /// Whether a gradient flows into the input of that name.
  bool gradient(std::string_view input) const { return flag(gradients, input); }
  /// Whether one is there already, of a later op, when this op's comes.
  bool add(std::string_view input) const { return flag(adds, input); }

 private:
  bool flag(const std::vector<bool>& flags, std::string_view input) const {
    const size_t i = call.op.place(input);
    return i < flags.size() && flags[i];
  }
};

/// Visits the nodes of `graph` in their order, each with the kernels that it runs, forward first: none where
/// it is free, or its op has no row.
void for_each_kernel(
    const Graph& graph, const Pass& pass,
    const std::function<void(const GraphNode& node, const std::vector<KernelCall>& calls)>& visit);

}  // namespace espalier

// What the rows of linear layers and convolutions share: the passes between a product forward and its
// products backward.
#pragma once

#include "espalier/core/cpu/direction.h"
#include "espalier/graph/ops/activation_bias.h"
#include "espalier/graph/ops/kernel_calls.h"

namespace espalier::ops {

using cpu::Direction;

KernelCall activation_forward_call(const Tensor& x, Activation f);
KernelCall activation_backward_call(const KernelContext& op, const Tensor& dy, Activation f, bool adds);

/// In training gelu and its like are passes of their own, which keep what backward needs.
inline bool activates_apart(const KernelContext& op) {
  return op.pass.training && keeps_input(op.call.activation());
}

/// The passes between an op's product forward and its products backward.
void add_activation_and_bias(Calls& calls, const KernelContext& op, const Tensor& y);

/// Forward, then what follows it, then the products backward that this step needs.
template <class Product>
Calls calls_of_products(const KernelContext& op, const Tensor& y, const Product& product) {
  Calls calls;
  for (const Direction direction :
       {Direction::forward, Direction::backward_weights, Direction::backward_data}) {
    if (direction != Direction::forward && !op.pass.training) break;
    if (direction == Direction::backward_data && !op.gradient("x")) break;
    calls.push_back(product(direction));
    calls.back().macs = op.call.op.macs(op.call) * op.pass.batch;
    if (direction == Direction::forward) add_activation_and_bias(calls, op, y);
  }
  return calls;
}

/// A product that writes `y` and has that much scratch memory: run(its numbers, the memory).
template <class Run>
KernelCall product_call(const std::string& kernel, const std::string& by, int64_t bytes, const Tensor& y,
                        size_t scratch_bytes, const Run& run) {
  return {kernel, by, 0, bytes,
          [run = run, y = like(y), scratch = memory(scratch_bytes, y.device())]() mutable {
            run(y.f32(), scratch.raw());
          }};
}

/// What a product reads and writes: its operands once each.
inline int64_t traffic_of_product(const KernelContext& op, Direction direction, const Tensor& x,
                                  const Tensor& w, const Tensor& y) {
  const bool adds = direction == Direction::backward_data && op.add("x");
  return traffic(x, adds ? 2 : 1) + traffic(w) + traffic(y);
}

/// Every weight meets every position of the output once.
inline int64_t macs_of_positions(const OpCall& call) {
  return call.output().row_elements() / call.output()[-1] * call.shape("weight").elements();
}

}  // namespace espalier::ops

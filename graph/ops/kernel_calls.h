// What the kernels of rows have in common: their operands, and what they move.
#pragma once

#include "espalier/core/measure.h"
#include "espalier/graph/kernels.h"

namespace espalier::ops {

using Calls = std::vector<KernelCall>;

inline Tensor memory(size_t bytes, Device device) {
  return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, device);
}

/// Bytes of `passes` of these numbers through memory.
inline int64_t traffic(const Tensor& tensor, int64_t passes = 1) {
  return passes * static_cast<int64_t>(tensor.bytes());
}

inline Tensor random_numbers(const Pass& pass, const Shape& shape, DType dtype, uint64_t key) {
  if (pass.device == Device::meta) return Tensor::empty(shape, dtype, pass.device);
  return random_operand(shape, key).to(pass.device);
}
/// What passes on, of all images, or a parameter.
inline Tensor input_of(const KernelContext& op, int value, uint64_t key) {
  const Shape& shape = op.call.graph.shape(value);
  if (op.call.graph.is_parameter(value)) return random_numbers(op.pass, shape, DType::f32, key);
  return random_numbers(op.pass, shape.with(0, op.pass.batch), op.pass.activations, key);
}
inline Tensor input_of(const KernelContext& op, std::string_view input, uint64_t key) {
  return input_of(op, op.call.input(input), key);
}
inline Tensor output_of(const KernelContext& op, uint64_t key) {
  return input_of(op, op.call.node.output, key);
}
inline Tensor like(const Tensor& tensor) { return tensor.like(tensor.shape()); }

/// Forward x to y and backward dy to dx, each with `aside` more bytes of traffic.
template <class Forward, class Backward>
Calls there_and_back(const KernelContext& op, const std::string& name, int64_t aside, const Forward& forward,
                     const Backward& backward) {
  const Tensor x = input_of(op, "x", 1), dy = output_of(op, 2);
  const int64_t bytes = traffic(x) + traffic(dy) + aside;
  Calls calls{{name + "_forward", "", 0, bytes,
               [=, y = like(dy), forward = forward]() mutable { forward(y.f32(), x.f32()); }}};
  const bool adds = op.add("x");
  if (op.gradient("x"))
    calls.push_back({name + "_backward", "", 0, bytes + (adds ? traffic(x) : 0),
                     [=, dx = like(x)]() mutable { backward(dx.f32(), dy.f32(), adds); }});
  return calls;
}

/// A kernel that is its own backward: run(y, x, adds).
template <class Run>
Calls linear_map_kernels(const KernelContext& op, const std::string& name, const Run& run) {
  const Tensor x = input_of(op, "x", 1);
  Calls calls{{name, "", 0, traffic(x, 2), [=, y = like(x)]() mutable { run(y.f32(), x.f32(), false); }}};
  const bool adds = op.add("x");
  if (op.gradient("x"))
    calls.push_back({name, "", 0, traffic(x, adds ? 3 : 2),
                     [=, dx = like(x)]() mutable { run(dx.f32(), x.f32(), adds); }});
  return calls;
}

}  // namespace espalier::ops

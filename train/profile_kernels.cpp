#include "espalier/train/profile_kernels.h"

#include <algorithm>

#include "espalier/autograd/ops/activation_bias.h"
#include "espalier/core/cpu/conv.h"
#include "espalier/core/cpu/gemm.h"
#include "espalier/core/kernels.h"
#include "espalier/core/measure.h"
#include "espalier/nn/network.h"

namespace espalier {
namespace {

using Calls = std::vector<KernelCall>;
using cpu::Direction;

constexpr Direction directions[] = {Direction::forward, Direction::backward_weights,
                                    Direction::backward_data};

Tensor memory(size_t bytes) { return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8); }

/// Bytes of `passes` of these numbers through memory.
int64_t traffic(const Tensor& tensor, int64_t passes = 1) {
  return passes * static_cast<int64_t>(tensor.bytes());
}

Tensor operand(const OpContext& op, int value, uint64_t key) {
  const TapeValue& v = op.tape.values[value];
  return random_tensor(v.parameter.empty() ? v.shape.with(0, op.batch) : v.shape, key);
}
Tensor like(const Tensor& tensor) { return Tensor::empty(tensor.shape()); }

template <class T>
T attribute(const TapeEntry& entry, std::string_view name) {
  const Attribute* found = entry.attribute(name);
  ESP_CHECK(found, "profile: ", entry.op, " has no attribute '", name, "'");
  return std::get<T>(*found);
}

Activation activation_of(const TapeEntry& entry, std::string_view attribute_name = "activation") {
  return ops::activation_named(attribute<std::string>(entry, attribute_name));
}

// --- linear layers and convolutions, and what runs behind their product

bool has_bias(const TapeEntry& entry) { return entry.inputs.size() > 2; }

/// In training gelu is a pass of its own, which keeps what backward needs.
bool activates_apart(const OpContext& op) { return op.training && ops::keeps_input(activation_of(op.entry)); }

KernelCall forward_activation(const Tensor& x, Activation f) {
  return {"activation_forward", "", 0, traffic(x, 2),
          [=, y = like(x)]() mutable { cpu::activation_forward(y.f32(), x.f32(), f, x.elements()); }};
}
KernelCall backward_activation(const Tensor& dy, Activation f) {
  return {"activation_backward", "", 0, traffic(dy, 3),
          [=, dx = like(dy), saved = random_tensor(dy.shape(), 7)]() mutable {
            cpu::activation_backward(dx.f32(), dy.f32(), saved.f32(), f, dy.elements(), false);
          }};
}
KernelCall backward_activation_bias(const Tensor& dy, Activation f) {
  const bool none = f == Activation::none;
  const int64_t cols = dy.shape()[-1], rows = dy.elements() / cols;
  return {"activation_bias_backward", "", 0, traffic(dy, none ? 1 : 3),
          [=, dx = like(dy), saved = random_tensor(dy.shape(), 7), db = Tensor::empty({cols}),
           scratch = memory(cpu::rows_scratch(cols))]() mutable {
            cpu::activation_bias_backward(none ? nullptr : dx.f32(), db.f32(), dy.f32(), saved.f32(), f, rows,
                                          cols, false, scratch.raw());
          }};
}

/// The passes between an op's product forward and its products backward.
void add_activation_and_bias(Calls& calls, const OpContext& op, const Tensor& y) {
  const Activation f = activation_of(op.entry);
  if (activates_apart(op)) calls.push_back(forward_activation(y, f));
  if (!op.training) return;
  if (has_bias(op.entry))
    calls.push_back(backward_activation_bias(y, f));
  else if (f != Activation::none)
    calls.push_back(backward_activation(y, f));
}

/// Forward, then what is behind it, then the products backward that this step needs.
template <class Product>
Calls calls_of_products(const OpContext& op, const Tensor& y, const Product& product) {
  Calls calls;
  for (const Direction direction : directions) {
    if (direction != Direction::forward && !op.training) break;
    if (direction == Direction::backward_data && !op.gradients[0]) break;
    calls.push_back(product(direction));
    calls.back().macs = macs_of(op.entry, op.tape) * op.batch;
    if (direction == Direction::forward) add_activation_and_bias(calls, op, y);
  }
  return calls;
}

/// A product backward, into numbers like those of `result`.
template <class ProductShape>
KernelCall backward_product(const char* name, const std::string& by, const Tensor& result, const Tensor& dy,
                            const Tensor& operand, const ProductShape& s,
                            size_t (*scratch_bytes)(const ProductShape&, bool),
                            void (*kernel)(float*, const float*, const float*, const ProductShape&, bool,
                                           void*)) {
  return {name, by, 0, 0, [=, d = like(result), scratch = memory(scratch_bytes(s, false))]() mutable {
            kernel(d.f32(), dy.f32(), operand.f32(), s, false, scratch.raw());
          }};
}

Calls linear_calls(const OpContext& op) {
  const Tensor x = operand(op, op.entry.inputs[0], 1), w = operand(op, op.entry.inputs[1], 2),
               y = operand(op, op.entry.output, 3);
  const Tensor b = has_bias(op.entry) ? operand(op, op.entry.inputs[2], 4) : Tensor();
  const Activation f = activates_apart(op) ? Activation::none : activation_of(op.entry);
  const LinearShape s{op.batch, x.shape()[1], y.shape()[1]};
  const size_t prepared_bytes = op.training ? 0 : cpu::linear_prepared_bytes(s);
  return calls_of_products(op, y, [&](Direction direction) -> KernelCall {
    const std::string by = cpu::linear_served_by(s, direction, prepared_bytes > 0);
    switch (direction) {
      case Direction::backward_weights:
        return backward_product("linear_backward_weights", by, w, y, x, s,
                                cpu::linear_backward_weights_scratch, cpu::linear_backward_weights);
      case Direction::backward_data:
        return backward_product("linear_backward_data", by, x, y, w, s, cpu::linear_backward_data_scratch,
                                cpu::linear_backward_data);
      default:
        break;
    }
    Tensor prepared = prepared_bytes ? memory(prepared_bytes) : Tensor();
    if (prepared.defined()) cpu::linear_prepare(prepared.raw(), w.f32(), s);
    return {"linear_forward", by, 0, 0,
            [=, z = like(y), scratch = memory(cpu::linear_forward_scratch(s, b.defined()))]() mutable {
              cpu::linear_forward(z.f32(), x.f32(), w.f32(), prepared.raw(), b.f32(), f, s, scratch.raw());
            }};
  });
}

/// The norm that reads what a convolution writes; null where there is none.
const TapeEntry* norm_behind(const OpContext& op) {
  const auto reads = [&](const TapeEntry& e) {
    return e.op == "batch_norm" && e.inputs[0] == op.entry.output;
  };
  const auto found = std::ranges::find_if(op.tape.entries, reads);
  return found == op.tape.entries.end() ? nullptr : &*found;
}

/// The epilogue a convolution takes along, with its operands.
struct Epilogue {
  Tensor scale, shift, residual, mean, variance, center;
  Activation f = Activation::none;

  /// In training a norm behind the convolution wants its statistics, in inference it is folded in.
  explicit Epilogue(const OpContext& op) {
    const Tensor channels = random_tensor({op.tape.values[op.entry.output].shape[-1]}, 5);
    if (has_bias(op.entry)) shift = channels;
    if (!activates_apart(op)) f = activation_of(op.entry);
    const TapeEntry* norm = norm_behind(op);
    if (norm && op.training) {
      mean = like(channels), variance = like(channels), center = channels;
    } else if (norm) {
      scale = channels, shift = channels, f = activation_of(*norm);
      if (norm->inputs.size() > 5) residual = operand(op, norm->inputs[5], 6);
    }
  }
  ConvEpilogue pointers() {
    return {.scale = scale.f32(),
            .shift = shift.f32(),
            .residual = residual.f32(),
            .f = f,
            .statistics = {mean.f32(), variance.f32(), center.f32()}};
  }
};

Calls conv2d_calls(const OpContext& op) {
  const Tensor x = operand(op, op.entry.inputs[0], 1), w = operand(op, op.entry.inputs[1], 2),
               y = operand(op, op.entry.output, 3);
  const Shape &in = x.shape(), &k = w.shape();
  const ConvShape s{op.batch,
                    in[1],
                    in[2],
                    in[3],
                    k[0],
                    k[1],
                    k[2],
                    attribute<int64_t>(op.entry, "stride"),
                    attribute<int64_t>(op.entry, "pad"),
                    attribute<int64_t>(op.entry, "groups")};
  Epilogue epilogue(op);
  return calls_of_products(op, y, [&](Direction direction) -> KernelCall {
    const std::string by = cpu::conv2d_served_by(s, direction, !op.training, epilogue.pointers());
    switch (direction) {
      case Direction::backward_weights:
        return backward_product("conv2d_backward_weights", by, w, y, x, s,
                                cpu::conv2d_backward_weights_scratch, cpu::conv2d_backward_weights);
      case Direction::backward_data:
        return backward_product("conv2d_backward_data", by, x, y, w, s, cpu::conv2d_backward_data_scratch,
                                cpu::conv2d_backward_data);
      default:
        break;
    }
    const size_t prepared_bytes = op.training ? 0 : cpu::conv2d_prepared_bytes(s);
    Tensor prepared = prepared_bytes ? memory(prepared_bytes) : Tensor();
    if (prepared.defined()) cpu::conv2d_prepare(prepared.raw(), w.f32(), s);
    return {
        "conv2d_forward", by, 0, 0,
        [=, z = like(y), scratch = memory(cpu::conv2d_forward_scratch(s, epilogue.pointers()))]() mutable {
          cpu::conv2d_forward(z.f32(), x.f32(), w.f32(), prepared.raw(), epilogue.pointers(), s,
                              scratch.raw());
        }};
  });
}

// --- batch norm

/// What a norm's kernels work on.
struct Norm {
  NormShape s;
  Activation f;
  Tensor x, y, residual, channels, result;
  bool residual_gradient;

  explicit Norm(const OpContext& op)
      : f(activation_of(op.entry)),
        x(operand(op, op.entry.inputs[0], 1)),
        y(operand(op, op.entry.output, 2)),
        residual(op.entry.inputs.size() > 5 ? operand(op, op.entry.inputs[5], 3) : Tensor()),
        channels(Tensor::full({x.shape()[-1]}, 1.0f)),
        result(like(x)),
        residual_gradient(residual.defined() && op.gradients[5]) {
    s = {x.elements() / x.shape()[-1], x.shape()[-1]};
  }
};

KernelCall norm_statistics(const Norm& n) {
  return {"channel_statistics", "", 0, traffic(n.x),
          [n, mean = like(n.channels), variance = like(n.channels),
           scratch = memory(cpu::channel_statistics_scratch(n.s))]() mutable {
            cpu::channel_statistics({mean.f32(), variance.f32()}, n.x.f32(), n.s, scratch.raw());
          }};
}

KernelCall norm_forward(const Norm& n) {
  return {"scale_shift_forward", "", 0, traffic(n.x, n.residual.defined() ? 3 : 2), [n = n]() mutable {
            cpu::scale_shift_forward(n.result.f32(), n.x.f32(), n.channels.f32(), n.channels.f32(),
                                     n.residual.f32(), n.f, n.s);
          }};
}

/// Two passes: dy and x to their sums, then to dx. A residual's gradient is written by the first and read in
/// dy's place by the second; with one, relu reads its sign off y and gelu needs the residual.
KernelCall norm_backward(const Norm& n) {
  const bool sign = n.residual.defined() && n.f != Activation::none;
  const int64_t passes = 5 + (n.residual_gradient ? 1 : 0) + (sign ? (n.residual_gradient ? 1 : 2) : 0);
  return {"batch_norm_backward", "", 0, traffic(n.x, passes),
          [n = n, sign, dgamma = like(n.channels), dbeta = like(n.channels),
           dresidual = n.residual_gradient ? like(n.x) : Tensor(),
           scratch = memory(cpu::batch_norm_backward_scratch(n.s))]() mutable {
            const float* channels = n.channels.f32();
            const NormBackward from{.dy = n.y.f32(),
                                    .x = n.x.f32(),
                                    .scale = channels,
                                    .shift = channels,
                                    .mean = channels,
                                    .rstd = channels,
                                    .residual = sign && n.f == Activation::gelu ? n.residual.f32() : nullptr,
                                    .y = sign && n.f == Activation::relu ? n.y.f32() : nullptr,
                                    .f = n.f};
            cpu::batch_norm_backward({.dx = n.result.f32(),
                                      .dresidual = dresidual.f32(),
                                      .dgamma = dgamma.f32(),
                                      .dbeta = dbeta.f32()},
                                     from, n.s, scratch.raw());
          }};
}

bool behind_convolution(const OpContext& op) {
  return std::ranges::any_of(op.tape.entries, [&](const TapeEntry& e) {
    return e.op == "conv2d" && e.output == op.entry.inputs[0];
  });
}

Calls batch_norm_calls(const OpContext& op) {
  const bool behind = behind_convolution(op);
  if (behind && !op.training) return {};  // folded into the convolution
  const Norm norm(op);
  Calls calls;
  if (op.training && !behind) calls.push_back(norm_statistics(norm));
  calls.push_back(norm_forward(norm));
  if (op.training) calls.push_back(norm_backward(norm));
  return calls;
}

// --- pooling and activations

Calls activation_calls(const OpContext& op) {
  const Activation f = activation_of(op.entry, "function");
  const Tensor x = operand(op, op.entry.inputs[0], 1);
  Calls calls{forward_activation(x, f)};
  if (op.gradients[0]) calls.push_back(backward_activation(x, f));
  return calls;
}

/// Forward x to y and backward dy to dx, each with `aside` more bytes of traffic.
template <class Forward, class Backward>
Calls pool_calls(const OpContext& op, const std::string& name, int64_t aside, const Forward& forward,
                 const Backward& backward) {
  const Tensor x = operand(op, op.entry.inputs[0], 1), dy = operand(op, op.entry.output, 2);
  const int64_t bytes = traffic(x) + traffic(dy) + aside;
  Calls calls{{name + "_forward", "", 0, bytes,
               [=, y = like(dy), forward = forward]() mutable { forward(y.f32(), x.f32()); }}};
  if (op.gradients[0])
    calls.push_back(
        {name + "_backward", "", 0, bytes, [=, dx = like(x)]() mutable { backward(dx.f32(), dy.f32()); }});
  return calls;
}

PoolShape pool_shape(const OpContext& op) {
  const Shape& in = op.tape.values[op.entry.inputs[0]].shape;
  return {op.batch,
          in[1],
          in[2],
          in[3],
          attribute<int64_t>(op.entry, "window"),
          attribute<int64_t>(op.entry, "stride"),
          attribute<int64_t>(op.entry, "pad")};
}

Calls max_pool_calls(const OpContext& op) {
  const PoolShape s = pool_shape(op);
  Tensor index = op.training ? Tensor::zeros({s.n * s.out_h() * s.out_w() * s.c}, DType::u8) : Tensor();
  return pool_calls(
      op, "max_pool", index.defined() ? traffic(index) : 0,
      [=](float* y, const float* x) mutable { cpu::max_pool_forward(y, index.data<uint8_t>(), x, s); },
      [=](float* dx, const float* dy) { cpu::max_pool_backward(dx, dy, index.data<uint8_t>(), s, false); });
}

Calls average_pool_calls(const OpContext& op) {
  const PoolShape s = pool_shape(op);
  return pool_calls(
      op, "average_pool", 0, [=](float* y, const float* x) { cpu::average_pool_forward(y, x, s); },
      [=](float* dx, const float* dy) { cpu::average_pool_backward(dx, dy, s, false); });
}

Calls global_average_pool_calls(const OpContext& op) {
  const Shape& in = op.tape.values[op.entry.inputs[0]].shape;
  const int64_t n = op.batch, pixels = in[1] * in[2], c = in[3];
  return pool_calls(
      op, "global_average_pool", 0,
      [=](float* y, const float* x) { cpu::global_average_pool_forward(y, x, n, pixels, c); },
      [=](float* dx, const float* dy) { cpu::global_average_pool_backward(dx, dy, n, pixels, c, false); });
}

}  // namespace

std::vector<KernelCall> kernels_of(const OpContext& op) {
  static const std::pair<std::string_view, Calls (*)(const OpContext&)> makers[] = {
      {"linear", linear_calls},
      {"conv2d", conv2d_calls},
      {"batch_norm", batch_norm_calls},
      {"activation", activation_calls},
      {"max_pool2d", max_pool_calls},
      {"average_pool2d", average_pool_calls},
      {"global_average_pool", global_average_pool_calls}};
  for (const auto& [name, make] : makers)
    if (op.entry.op == name) return make(op);
  return {};
}

}  // namespace espalier

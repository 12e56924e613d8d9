#include "espalier/train/profile_kernels.h"

#include <algorithm>
#include <set>

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

/// An op of a tape of one image.
struct OpContext {
  const Tape& tape;
  const TapeEntry& entry;
  const Pass& pass;
  const std::vector<bool>&gradients, &adds;  ///< of its inputs: Flow
};

constexpr Direction directions[] = {Direction::forward, Direction::backward_weights,
                                    Direction::backward_data};

Tensor memory(size_t bytes, Device device) {
  return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, device);
}

/// Bytes of `passes` of these numbers through memory.
int64_t traffic(const Tensor& tensor, int64_t passes = 1) {
  return passes * static_cast<int64_t>(tensor.bytes());
}

Tensor random_numbers(const Pass& pass, const Shape& shape, DType dtype, uint64_t key) {
  if (pass.device == Device::meta) return Tensor::empty(shape, dtype, pass.device);
  return random_operand(shape, key).to(pass.device);
}
/// What passes on, of all images, or a parameter.
Tensor operand(const OpContext& op, int value, uint64_t key) {
  const TapeValue& v = op.tape.values[value];
  if (!v.parameter.empty()) return random_numbers(op.pass, v.shape, DType::f32, key);
  return random_numbers(op.pass, v.shape.with(0, op.pass.batch), op.pass.activations, key);
}
Tensor like(const Tensor& tensor) { return tensor.like(tensor.shape()); }

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
bool activates_apart(const OpContext& op) {
  return op.pass.training && ops::keeps_input(activation_of(op.entry));
}

KernelCall forward_activation(const Tensor& x, Activation f) {
  return {"activation_forward", "", 0, traffic(x, 2), [=, y = like(x)]() mutable {
            ESP_RUN(x.device(), activation_forward(y.f32(), x.f32(), f, x.elements()));
          }};
}
KernelCall backward_activation(const OpContext& op, const Tensor& dy, Activation f, bool adds) {
  return {"activation_backward", "", 0, traffic(dy, adds ? 4 : 3),
          [=, dx = like(dy), saved = random_numbers(op.pass, dy.shape(), dy.dtype(), 7)]() mutable {
            ESP_RUN(dy.device(),
                    activation_backward(dx.f32(), dy.f32(), saved.f32(), f, dy.elements(), adds));
          }};
}
KernelCall backward_activation_bias(const OpContext& op, const Tensor& dy, Activation f) {
  const bool none = f == Activation::none;
  const int64_t cols = dy.shape()[-1], rows = dy.elements() / cols;
  return {"activation_bias_backward", "", 0, traffic(dy, none ? 1 : 3),
          [=, dx = like(dy), saved = random_numbers(op.pass, dy.shape(), dy.dtype(), 7),
           db = Tensor::empty({cols}, DType::f32, dy.device()),
           scratch = memory(ESP_RUN(dy.device(), rows_scratch(cols)), dy.device())]() mutable {
            ESP_RUN(dy.device(), activation_bias_backward(none ? nullptr : dx.f32(), db.f32(), dy.f32(),
                                                          saved.f32(), f, rows, cols, false, scratch.raw()));
          }};
}

/// The passes between an op's product forward and its products backward.
void add_activation_and_bias(Calls& calls, const OpContext& op, const Tensor& y) {
  const Activation f = activation_of(op.entry);
  if (activates_apart(op)) calls.push_back(forward_activation(y, f));
  if (!op.pass.training) return;
  if (has_bias(op.entry))
    calls.push_back(backward_activation_bias(op, y, f));
  else if (f != Activation::none)
    calls.push_back(backward_activation(op, y, f, false));
}

/// Forward, then what is behind it, then the products backward that this step needs.
template <class Product>
Calls calls_of_products(const OpContext& op, const Tensor& y, const Product& product) {
  Calls calls;
  for (const Direction direction : directions) {
    if (direction != Direction::forward && !op.pass.training) break;
    if (direction == Direction::backward_data && !op.gradients[0]) break;
    calls.push_back(product(direction));
    calls.back().macs = macs_of(op.entry, op.tape) * op.pass.batch;
    if (direction == Direction::forward) add_activation_and_bias(calls, op, y);
  }
  return calls;
}

/// What a product reads and writes: its operands once each.
int64_t traffic_of_product(const OpContext& op, Direction direction, const Tensor& x, const Tensor& w,
                           const Tensor& y) {
  const bool adds = direction == Direction::backward_data && op.adds[0];
  return traffic(x, adds ? 2 : 1) + traffic(w) + traffic(y);
}

Calls linear_calls(const OpContext& op) {
  const Tensor x = operand(op, op.entry.inputs[0], 1), w = operand(op, op.entry.inputs[1], 2),
               y = operand(op, op.entry.output, 3);
  const Tensor b = has_bias(op.entry) ? operand(op, op.entry.inputs[2], 4) : Tensor();
  const Device device = op.pass.device;
  const Activation f = activates_apart(op) ? Activation::none : activation_of(op.entry);
  const LinearShape s{op.pass.batch, x.shape()[1], y.shape()[1]};
  const size_t prepared_bytes = op.pass.training ? 0 : ESP_RUN(device, linear_prepared_bytes(s));
  return calls_of_products(op, y, [&](Direction direction) -> KernelCall {
    const std::string by =
        device == Device::cpu ? cpu::linear_served_by(s, direction, prepared_bytes > 0) : "";
    const int64_t bytes = traffic_of_product(op, direction, x, w, y);
    switch (direction) {
      case Direction::backward_weights:
        return {
            "linear_backward_weights", by, 0, bytes,
            [=, dw = like(w),
             scratch = memory(ESP_RUN(device, linear_backward_weights_scratch(s, false)), device)]() mutable {
              ESP_RUN(device, linear_backward_weights(dw.f32(), y.f32(), x.f32(), s, false, scratch.raw()));
            }};
      case Direction::backward_data:
        return {"linear_backward_data", by, 0, bytes,
                [=, adds = bool{op.adds[0]}, dx = like(x),
                 scratch =
                     memory(ESP_RUN(device, linear_backward_data_scratch(s, op.adds[0])), device)]() mutable {
                  ESP_RUN(device, linear_backward_data(dx.f32(), y.f32(), w.f32(), s, adds, scratch.raw()));
                }};
      default:
        break;
    }
    Tensor prepared = prepared_bytes ? memory(prepared_bytes, device) : Tensor();
    if (prepared.defined()) ESP_RUN(device, linear_prepare(prepared.raw(), w.f32(), s));
    return {"linear_forward", by, 0, bytes,
            [=, z = like(y),
             scratch = memory(ESP_RUN(device, linear_forward_scratch(s, b.defined())), device)]() mutable {
              ESP_RUN(device, linear_forward(z.f32(), x.f32(), w.f32(), prepared.raw(), b.f32(), f, s,
                                             scratch.raw()));
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
    const Tensor channels =
        random_numbers(op.pass, {op.tape.values[op.entry.output].shape[-1]}, DType::f32, 5);
    if (has_bias(op.entry)) shift = channels;
    if (!activates_apart(op)) f = activation_of(op.entry);
    const TapeEntry* norm = norm_behind(op);
    if (norm && op.pass.training) {
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
  const ConvShape s{op.pass.batch,
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
  const Device device = op.pass.device;
  return calls_of_products(op, y, [&](Direction direction) -> KernelCall {
    const std::string by = device == Device::cpu
                               ? cpu::conv2d_served_by(s, direction, !op.pass.training, epilogue.pointers())
                               : "";
    const int64_t bytes = traffic_of_product(op, direction, x, w, y);
    switch (direction) {
      case Direction::backward_weights:
        return {
            "conv2d_backward_weights", by, 0, bytes,
            [=, dw = like(w),
             scratch = memory(ESP_RUN(device, conv2d_backward_weights_scratch(s, false)), device)]() mutable {
              ESP_RUN(device, conv2d_backward_weights(dw.f32(), y.f32(), x.f32(), s, false, scratch.raw()));
            }};
      case Direction::backward_data:
        return {"conv2d_backward_data", by, 0, bytes,
                [=, adds = bool{op.adds[0]}, dx = like(x),
                 scratch =
                     memory(ESP_RUN(device, conv2d_backward_data_scratch(s, op.adds[0])), device)]() mutable {
                  ESP_RUN(device, conv2d_backward_data(dx.f32(), y.f32(), w.f32(), s, adds, scratch.raw()));
                }};
      default:
        break;
    }
    const size_t prepared_bytes = op.pass.training ? 0 : ESP_RUN(device, conv2d_prepared_bytes(s));
    Tensor prepared = prepared_bytes ? memory(prepared_bytes, device) : Tensor();
    if (prepared.defined()) ESP_RUN(device, conv2d_prepare(prepared.raw(), w.f32(), s));
    return {"conv2d_forward", by, 0, bytes,
            [=, z = like(y),
             scratch =
                 memory(ESP_RUN(device, conv2d_forward_scratch(s, epilogue.pointers())), device)]() mutable {
              ESP_RUN(device, conv2d_forward(z.f32(), x.f32(), w.f32(), prepared.raw(), epilogue.pointers(),
                                             s, scratch.raw()));
            }};
  });
}

// --- batch norm

/// What a norm's kernels work on.
struct Norm {
  NormShape s;
  Activation f;
  Tensor x, y, residual, channels, result;
  bool residual_gradient, adds_dx, adds_dresidual;

  explicit Norm(const OpContext& op)
      : f(activation_of(op.entry)),
        x(operand(op, op.entry.inputs[0], 1)),
        y(operand(op, op.entry.output, 2)),
        residual(op.entry.inputs.size() > 5 ? operand(op, op.entry.inputs[5], 3) : Tensor()),
        channels(Tensor::full({x.shape()[-1]}, 1.0f, op.pass.device)),
        result(like(x)),
        residual_gradient(residual.defined() && op.gradients[5]),
        adds_dx(op.adds[0]),
        adds_dresidual(residual_gradient && op.adds[5]) {
    s = {x.elements() / x.shape()[-1], x.shape()[-1]};
  }
};

KernelCall norm_statistics(const Norm& n) {
  return {"channel_statistics", "", 0, traffic(n.x),
          [n, mean = like(n.channels), variance = like(n.channels),
           scratch = memory(ESP_RUN(n.x.device(), channel_statistics_scratch(n.s)), n.x.device())]() mutable {
            ESP_RUN(n.x.device(),
                    channel_statistics({mean.f32(), variance.f32()}, n.x.f32(), n.s, scratch.raw()));
          }};
}

KernelCall norm_forward(const Norm& n) {
  return {"scale_shift_forward", "", 0, traffic(n.x, n.residual.defined() ? 3 : 2), [n = n]() mutable {
            ESP_RUN(n.x.device(), scale_shift_forward(n.result.f32(), n.x.f32(), n.channels.f32(),
                                                      n.channels.f32(), n.residual.f32(), n.f, n.s));
          }};
}

/// Two passes: dy and x to their sums, then to dx. A residual's gradient is written by the first and read in
/// dy's place by the second; with one, relu reads its sign off y and gelu needs the residual.
KernelCall norm_backward(const Norm& n) {
  const bool sign = n.residual.defined() && n.f != Activation::none;
  const int64_t passes = 5 + (n.residual_gradient ? 1 : 0) + (sign ? (n.residual_gradient ? 1 : 2) : 0) +
                         (n.adds_dx ? 1 : 0) + (n.adds_dresidual ? 1 : 0);
  return {
      "batch_norm_backward", "", 0, traffic(n.x, passes),
      [n = n, sign, dgamma = like(n.channels), dbeta = like(n.channels),
       dresidual = n.residual_gradient ? like(n.x) : Tensor(),
       scratch = memory(ESP_RUN(n.x.device(), batch_norm_backward_scratch(n.s)), n.x.device())]() mutable {
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
        const NormGradients to{.dx = n.result.f32(),
                               .dresidual = dresidual.f32(),
                               .dgamma = dgamma.f32(),
                               .dbeta = dbeta.f32(),
                               .add_dx = n.adds_dx,
                               .add_dresidual = n.adds_dresidual};
        ESP_RUN(n.x.device(), batch_norm_backward(to, from, n.s, scratch.raw()));
      }};
}

bool behind_convolution(const OpContext& op) {
  return std::ranges::any_of(op.tape.entries, [&](const TapeEntry& e) {
    return e.op == "conv2d" && e.output == op.entry.inputs[0];
  });
}

Calls batch_norm_calls(const OpContext& op) {
  const bool behind = behind_convolution(op);
  if (behind && !op.pass.training) return {};  // folded into the convolution
  const Norm norm(op);
  Calls calls;
  const bool taken = behind && op.pass.device == Device::cpu;  // by the convolution, while they are in cache
  if (op.pass.training && !taken) calls.push_back(norm_statistics(norm));
  calls.push_back(norm_forward(norm));
  if (op.pass.training) calls.push_back(norm_backward(norm));
  return calls;
}

// --- pooling and activations

Calls activation_calls(const OpContext& op) {
  const Activation f = activation_of(op.entry, "function");
  const Tensor x = operand(op, op.entry.inputs[0], 1);
  Calls calls{forward_activation(x, f)};
  if (op.gradients[0]) calls.push_back(backward_activation(op, x, f, op.adds[0]));
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
  const bool adds = op.adds[0];
  if (op.gradients[0])
    calls.push_back({name + "_backward", "", 0, bytes + (adds ? traffic(x) : 0),
                     [=, dx = like(x)]() mutable { backward(dx.f32(), dy.f32(), adds); }});
  return calls;
}

PoolShape pool_shape(const OpContext& op) {
  const Shape& in = op.tape.values[op.entry.inputs[0]].shape;
  return {op.pass.batch,
          in[1],
          in[2],
          in[3],
          attribute<int64_t>(op.entry, "window"),
          attribute<int64_t>(op.entry, "stride"),
          attribute<int64_t>(op.entry, "pad")};
}

Calls max_pool_calls(const OpContext& op) {
  const PoolShape s = pool_shape(op);
  const Device device = op.pass.device;
  Tensor index =
      op.pass.training ? Tensor::zeros({s.n * s.out_h() * s.out_w() * s.c}, DType::u8, device) : Tensor();
  return pool_calls(
      op, "max_pool", index.defined() ? traffic(index) : 0,
      [=](float* y, const float* x) mutable {
        ESP_RUN(device, max_pool_forward(y, index.data<uint8_t>(), x, s));
      },
      [=](float* dx, const float* dy, bool adds) {
        ESP_RUN(device, max_pool_backward(dx, dy, index.data<uint8_t>(), s, adds));
      });
}

Calls average_pool_calls(const OpContext& op) {
  const PoolShape s = pool_shape(op);
  const Device device = op.pass.device;
  return pool_calls(
      op, "average_pool", 0,
      [=](float* y, const float* x) { ESP_RUN(device, average_pool_forward(y, x, s)); },
      [=](float* dx, const float* dy, bool adds) {
        ESP_RUN(device, average_pool_backward(dx, dy, s, adds));
      });
}

Calls global_average_pool_calls(const OpContext& op) {
  const Shape& in = op.tape.values[op.entry.inputs[0]].shape;
  const int64_t n = op.pass.batch, pixels = in[1] * in[2], c = in[3];
  const Device device = op.pass.device;
  return pool_calls(
      op, "global_average_pool", 0,
      [=](float* y, const float* x) { ESP_RUN(device, global_average_pool_forward(y, x, n, pixels, c)); },
      [=](float* dx, const float* dy, bool adds) {
        ESP_RUN(device, global_average_pool_backward(dx, dy, n, pixels, c, adds));
      });
}

// --- loss

/// Forward writes the gradient of a loss of 1 as well, which backward scales.
Calls loss_calls(const OpContext& op) {
  const Tensor logits = operand(op, op.entry.inputs[0], 1);
  const Device device = op.pass.device;
  const int64_t n = logits.shape()[0], classes = logits.shape()[1];
  Tensor one = Tensor::full({1}, 1.0f, device), losses = Tensor::empty({n}, DType::f32, device),
         rank = Tensor::empty({n}, DType::i32, device), labels = Tensor::zeros({n}, DType::i32, device);
  Calls calls{{"softmax_cross_entropy", "", 0, traffic(logits, op.gradients[0] ? 2 : 1),
               [=, dlogits = op.gradients[0] ? like(logits) : Tensor()]() mutable {
                 ESP_RUN(device,
                         softmax_cross_entropy(losses.f32(), dlogits.f32(), rank.data<int32_t>(),
                                               logits.f32(), labels.data<int32_t>(), 0.0f, n, classes));
               }}};
  if (op.gradients[0])
    calls.push_back({"scale_by", "", 0, traffic(logits, 2), [=, dx = like(logits)]() mutable {
                       ESP_RUN(device, scale_by(dx.f32(), logits.f32(), one.f32(), logits.elements(), false));
                     }});
  return calls;
}

}  // namespace

namespace {

/// What the op runs, forward first; nothing where the op is free, or none of those that have a row.
Calls kernels_of(const OpContext& op) {
  static const std::pair<std::string_view, Calls (*)(const OpContext&)> makers[] = {
      {"linear", linear_calls},
      {"conv2d", conv2d_calls},
      {"batch_norm", batch_norm_calls},
      {"activation", activation_calls},
      {"max_pool2d", max_pool_calls},
      {"average_pool2d", average_pool_calls},
      {"global_average_pool", global_average_pool_calls},
      {"softmax_cross_entropy", loss_calls}};
  for (const auto& [name, make] : makers)
    if (op.entry.op == name) return make(op);
  return {};
}

/// Of each op's inputs, whether a gradient flows into it, and is there already, of an op behind, when this
/// one's comes.
struct Flow {
  std::vector<std::vector<bool>> gradients, adds;

  Flow(const Tape& tape, bool training) {
    std::set<int> learned;
    for (size_t i = 0; i < tape.values.size(); ++i)
      if (!tape.values[i].parameter.empty()) learned.insert(static_cast<int>(i));
    for (const TapeEntry& entry : tape.entries) {
      auto& needed = gradients.emplace_back();
      for (const int value : entry.inputs) needed.push_back(training && learned.contains(value));
      if (std::ranges::any_of(entry.inputs, [&](int value) { return learned.contains(value); }))
        learned.insert(entry.output);
    }
    adds = gradients;
    std::set<int> has_one;
    for (size_t i = tape.entries.size(); i-- > 0;)
      for (size_t k = 0; k < adds[i].size(); ++k)
        if (adds[i][k]) adds[i][k] = !has_one.insert(tape.entries[i].inputs[k]).second;
  }
};

}  // namespace

void for_each_kernel(
    const Tape& tape, const Pass& pass,
    const std::function<void(const TapeEntry& entry, const std::vector<KernelCall>& calls)>& visit) {
  const Flow flow(tape, pass.training);
  for (size_t i = 0; i < tape.entries.size(); ++i)
    visit(tape.entries[i], kernels_of({tape, tape.entries[i], pass, flow.gradients[i], flow.adds[i]}));
}

}  // namespace espalier

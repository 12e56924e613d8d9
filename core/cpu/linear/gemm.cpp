// Linear layers: in training three matrix products by oneDNN, which reaches the processor's peak (408 of 413
// GFLOP/s at batch 64, 784 to 256, two Zen 5 cores; PyTorch's MKL reaches 185 there).
#include "espalier/core/cpu/linear/gemm.h"

#include "espalier/core/cpu/conv/pointwise.h"
#include "espalier/core/cpu/linear/gemv.h"
#include "espalier/core/cpu/onednn.h"
#include "espalier/core/cpu/plan_cache.h"
#include "espalier/core/isa.h"
#include "espalier/core/kernel_choice.h"
#include "espalier/core/kernels.h"

namespace espalier::cpu {
namespace {

/// c [m,n] = a [m,k] b [k,n] (+ bias [n], or + c); a or b may lie transposed in memory.
struct Product {
  int64_t m, n, k;
  bool a_transposed, b_transposed, bias, accumulate;
};

Primitive make(const Product& p) {
  expect_room_for_code();
  const auto layout = [](bool transposed) { return transposed ? Tag::ba : Tag::ab; };
  const auto a = f32_desc({p.m, p.k}, layout(p.a_transposed)),
             b = f32_desc({p.k, p.n}, layout(p.b_transposed)), bias = f32_desc({1, p.n}, Tag::ab),
             c = f32_desc({p.m, p.n}, Tag::ab);
  auto attributes = with_scratch();
  if (p.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const auto desc = p.bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
  const dnnl::matmul::primitive_desc chosen(desc, attributes, onednn_engine());
  std::vector<std::pair<int, dnnl::memory::desc>> slots{
      {DNNL_ARG_DST, c}, {DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}};
  if (p.bias) slots.emplace_back(DNNL_ARG_BIAS, bias);
  return {dnnl::matmul(chosen), slots, chosen.scratchpad_desc()};
}

Primitive& plan(const Product& p) {
  thread_local PlanCache<Primitive, 4> cache;
  const int64_t flags = p.a_transposed | p.b_transposed << 1 | p.bias << 2 | p.accumulate << 3;
  return cache.get({p.m, p.n, p.k, flags}, [&] { return make(p); });
}

Primitive& forward_plan(const LinearShape& s, bool bias) {
  return plan({s.n, s.out, s.in, false, true, bias, false});
}
Primitive& backward_data_plan(const LinearShape& s, bool accumulate) {
  return plan({s.n, s.in, s.out, false, false, false, accumulate});
}
Primitive& backward_weights_plan(const LinearShape& s, bool accumulate) {
  return plan({s.out, s.in, s.n, true, false, false, accumulate});
}

Primitive& plan_of(const LinearShape& s, Direction direction) {
  switch (direction) {
    case Direction::backward_data:
      return backward_data_plan(s, false);
    case Direction::backward_weights:
      return backward_weights_plan(s, false);
    default:
      return forward_plan(s, false);
  }
}

/// A linear layer as a 1x1 convolution of images of one pixel.
ConvShape pixels(const LinearShape& s) { return {s.n, 1, 1, s.in, s.out, 1, 1}; }

}  // namespace

std::string linear_served_by(const LinearShape& s, Direction direction, bool prepared) {
  if (direction == Direction::forward && prepared) return "pointwise";
  if (direction == Direction::forward && s.n <= gemv_rule_rows) return "rows";
  return "product (" + plan_of(s, direction).implementation() + ")";
}

size_t linear_prepared_bytes(const LinearShape& s) {
  const bool product = s.n > gemv_rule_rows && !kernel_choice::active() && isa() != Isa::baseline;
  return product ? pointwise_prepared_bytes(pixels(s)) : 0;
}
void linear_prepare(void* prepared, const float* w, const LinearShape& s) {
  pointwise_prepare(prepared, w, pixels(s));
}

size_t linear_forward_scratch(const LinearShape& s, bool bias) {
  const bool product = s.n > gemv_rule_rows || kernel_choice::active();
  if (!product) return 0;
  return std::max(forward_plan(s, bias).scratch_bytes(), pointwise_forward_scratch(pixels(s), {}));
}
void linear_forward(float* y, const float* x, const float* w, const void* prepared, const float* b,
                    Activation f, const LinearShape& s, void* scratch) {
  if (prepared) return pointwise_forward(y, x, w, prepared, {.shift = b, .f = f}, pixels(s), scratch);
  const auto rows = [=] { gemv(y, x, w, b, s); };
  const auto product = [=] {
    if (b)
      forward_plan(s, true).run({y, x, w, b}, scratch);
    else
      forward_plan(s, false).run({y, x, w}, scratch);
  };
  const bool few = s.n <= gemv_rule_rows;
  if (s.n > gemv_most_rows || (!few && !kernel_choice::active()))
    product();
  else if (!kernel_choice::active())
    rows();
  else
    kernel_choice::run(
        join("linear_forward ", s.n, "x", s.in, "x", s.out, " ", isa_name(isa()), " ", threads(), " threads"),
        {{"rows", rows}, {"product", product}}, few ? 0 : 1);
  if (f != Activation::none) activation_forward(y, y, f, s.n * s.out);
}

size_t linear_backward_data_scratch(const LinearShape& s, bool accumulate) {
  return backward_data_plan(s, accumulate).scratch_bytes();
}
void linear_backward_data(float* dx, const float* dy, const float* w, const LinearShape& s, bool accumulate,
                          void* scratch) {
  backward_data_plan(s, accumulate).run({dx, dy, w}, scratch);
}

size_t linear_backward_weights_scratch(const LinearShape& s, bool accumulate) {
  return backward_weights_plan(s, accumulate).scratch_bytes();
}
void linear_backward_weights(float* dw, const float* dy, const float* x, const LinearShape& s,
                             bool accumulate, void* scratch) {
  backward_weights_plan(s, accumulate).run({dw, dy, x}, scratch);
}

}  // namespace espalier::cpu

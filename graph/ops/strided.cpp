#include "espalier/graph/ops.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <numeric>

#include "espalier/graph/ops/activation_bias.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/kernel_calls.h"
#include "espalier/graph/ops/operand.h"
#include "espalier/graph/ops/tangents.h"

namespace espalier::ops {
namespace {

/// How many numbers lie between neighbours along each axis of a dense tensor.
std::vector<int64_t> strides_of(const Shape& shape) {
  std::vector<int64_t> strides(static_cast<size_t>(shape.axes()), 1);
  for (int i = shape.axes() - 2; i >= 0; --i)
    strides[static_cast<size_t>(i)] = strides[static_cast<size_t>(i + 1)] * shape[i + 1];
  return strides;
}

/// The other way round.
StridedShape back(StridedShape s) {
  std::swap(s.x, s.y);
  return s;
}

/// y of that shape, x's axes in another order. The axes are the last of five.
StridedShape permuted(const Shape& x, const Shape& y, const std::vector<int64_t>& axes) {
  const auto of_x = strides_of(x), of_y = strides_of(y);
  StridedShape s;
  for (size_t i = 0; i < axes.size(); ++i) {
    const size_t to = StridedShape::axes - axes.size() + i;
    s.sizes[to] = y[static_cast<int>(i)];
    s.y[to] = of_y[i];
    s.x[to] = of_x[static_cast<size_t>(axes[i])];
  }
  return s;
}

/// x [N,H,W,C] inside of y.
StridedShape inside(const Shape& x, const Shape& y) {
  StridedShape s;
  const auto of_x = strides_of(x), of_y = strides_of(y);
  for (int i = 0; i < 4; ++i) {
    s.sizes[i + 1] = x[i];
    s.x[i + 1] = of_x[static_cast<size_t>(i)];
    s.y[i + 1] = of_y[static_cast<size_t>(i)];
  }
  return s;
}

}  // namespace

Variable permute(const Variable& x, const std::vector<int64_t>& axes) {
  const Shape& shape = x.shape();
  std::vector<int64_t> all(static_cast<size_t>(shape.axes()));
  std::iota(all.begin(), all.end(), 0);
  ESP_CHECK(
      !axes.empty() && axes[0] == 0 && std::is_permutation(all.begin(), all.end(), axes.begin(), axes.end()),
      "permute: axes [", fmt::format("{}", fmt::join(axes, ", ")), "] of ", shape,
      ", expected each once, and 0 first");
  std::vector<int64_t> sizes;
  for (const int64_t axis : axes) sizes.push_back(shape[static_cast<int>(axis)]);
  const Shape to{std::span<const int64_t>(sizes)};
  const StridedShape s = permuted(shape, to, axes);
  Tensor y = x.value().like(to);
  ESP_RUN_REAL(y, copy_strided(y.data<Real>(), x.value().data<Real>(), s, false));
  return record({.op = "permute",
                 .attributes = {{"axes", axes}},
                 .inputs = {x},
                 .output = y,
                 .channels = axes.back() == all.back() ? Channels::kept : Channels::whole,
                 .backward = [s = back(s)](const Tensor& dy, const Gradients& gradients) {
                   const auto dx = gradients.into(0);
                   ESP_RUN_REAL(dy, copy_strided(dx.data<Real>(), dy.data<Real>(), s, dx.accumulate));
                 }});
}

Variable pad(const Variable& x, const Padding& sides, float value) {
  const Shape& shape = x.shape();
  ESP_CHECK(shape.axes() == 4, "pad: expects x [N,H,W,C], found ", shape);
  ESP_CHECK(sides.least() >= 0 && sides.most() <= WindowAxis::most, "pad: ", sides, ", expected 0 to ",
            WindowAxis::most, " pixels");
  const Shape to{shape[0], sides.top + shape[1] + sides.bottom, sides.left + shape[2] + sides.right,
                 shape[3]};
  Tensor y = x.value().like(to);  // fails for one that is too large to count
  const StridedShape s = inside(shape, to);
  const int64_t first = (sides.top * to[2] + sides.left) * to[3];
  y.fill(value);
  ESP_RUN_REAL(y, copy_strided(y.data<Real>() + first, x.value().data<Real>(), s, false));
  return record({.op = "pad",
                 .attributes = {{"sides", std::vector{sides.top, sides.left, sides.bottom, sides.right}},
                                {"value", static_cast<double>(value)}},
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::kept,
                 .backward = [s = back(s), first](const Tensor& dy, const Gradients& gradients) {
                   const auto dx = gradients.into(0);
                   ESP_RUN_REAL(dy, copy_strided(dx.data<Real>(), dy.data<Real>() + first, s, dx.accumulate));
                 }});
}

Variable expand(const Variable& x, const Variable& one) {
  ESP_CHECK(x.shape().axes() >= 1 && one.shape().axes() >= 1 && one.shape()[0] == 1,
            "expand: expects x [N,...] and [1,...], found ", x.shape(), " and ", one.shape());
  ESP_CHECK(one.value().dtype() == DType::f32, "expand: what is repeated is f32, found ",
            dtype_name(one.value().dtype()));
  const int64_t n = x.shape()[0], each = one.value().elements();
  StridedShape s;
  s.sizes[3] = n;
  s.y[3] = each;
  s.sizes[4] = each;
  s.y[4] = s.x[4] = 1;
  const Tensor from = operand(one.value(), x.value());
  Tensor y = x.value().like(one.shape().with(0, n));
  ESP_RUN_REAL(y, copy_strided(y.data<Real>(), from.data<Real>(), s, false));
  return record({.op = "expand",
                 .attributes = {},
                 .inputs = {x, one},
                 .output = y,
                 .channels = Channels::whole,
                 .backward = [each](const Tensor& dy, const Gradients& gradients) {
                   if (!gradients.needed(1)) return;  // only the size of x is looked at
                   sum_rows(gradients.into(1), dy, each);
                 }});
}

// What is to know of it beside how it computes: graph/op.h

namespace {

using List = std::vector<int64_t>;

Padding sides_of(const OpCall& call) {
  const List& sides = call.attribute<List>("sides");
  ESP_CHECK(sides.size() == 4, call.op.name, ": 'sides' has ", sides.size(),
            " numbers, expected 4: top, left, bottom, right");
  return {sides[0], sides[1], sides[2], sides[3]};
}

/// A copy of all that goes in or, where that is less, out, and back.
Calls moving_kernels(const KernelContext& op) {
  const Tensor x = input_of(op, "x", 1), y = output_of(op, 2);
  StridedShape s;
  s.sizes[4] = std::min(x.elements(), y.elements());
  s.x[4] = s.y[4] = 1;
  const auto run = [=, device = op.pass.device](float* to, const float* from, bool adds) {
    ESP_RUN(device, copy_strided(to, from, s, adds));
  };
  return there_and_back(
      op, op.call.op.name, 0, [=](float* to, const float* from) { run(to, from, false); }, run);
}

/// `one`, for each image; backward sums over images.
Calls expand_kernels(const KernelContext& op) {
  const Tensor one = input_of(op, "one", 1), y = output_of(op, 2);
  const Device device = op.pass.device;
  const int64_t n = y.shape()[0], each = one.elements();
  StridedShape s;
  s.sizes[3] = n, s.sizes[4] = each;
  s.y[3] = each, s.y[4] = s.x[4] = 1;
  Calls calls{{"copy_strided", "", 0, traffic(one) + traffic(y), [=, to = like(y)]() mutable {
                 ESP_RUN(device, copy_strided(to.f32(), one.f32(), s, false));
               }}};
  if (op.gradient("one"))
    calls.push_back({"activation_bias_backward", "", 0, traffic(one) + traffic(y),
                     [=, adds = op.add("one"), done = like(one),
                      scratch = memory(ESP_RUN(device, rows_scratch(each)), device)]() mutable {
                       ESP_RUN(device,
                               activation_bias_backward(static_cast<float*>(nullptr), done.f32(), y.f32(),
                                                        static_cast<const float*>(nullptr), Activation::none,
                                                        n, each, adds, scratch.raw()));
                     }});
  return calls;
}

}  // namespace

std::vector<Op> strided_rows() {
  return {
      {.name = "permute",
       .inputs = {{"x"}},
       .attributes = {{"axes", List()}},
       .run = [](const OpArguments& x) { return permute(x("x"), x.call.attribute<List>("axes")); },
       .tangent = run_on_tangents,
       .homogeneous = in_any_case,
       .constants = [](const ConstantArguments& c) { return c("x"); },
       .keeps_constants = [](const OpCall& c) { return c.node.channels.rule == Channels::kept; },
       .kernels = moving_kernels},
      {.name = "pad",  // at its border a constant channel is another
       .inputs = {{"x"}},
       .attributes = {{"sides", List()}, {"value", 0.0}},
       .run = [](const OpArguments& x) { return pad(x("x"), sides_of(x.call), x.call.real("value")); },
       .tangent = [](const OpArguments& x, const OpArguments& dx) { return pad(dx("x"), sides_of(x.call)); },
       .homogeneous = [](const OpCall& call) { return call.real("value") == 0; },
       .kernels = moving_kernels},
      {.name = "expand",
       .inputs = {{"x"}, {.name = "one", .role = Role::embedding, .adds = true}},
       .run = [](const OpArguments& x) { return expand(x("x"), x("one")); },
       // Of x only the number of images is looked at.
       .tangent =
           [](const OpArguments& x, const OpArguments& dx) {
             const Variable moved = dx("one").defined() ? dx("one") : zeros_like(x("one"));
             return expand(x("x"), moved);
           },
       .kernels = expand_kernels}};
}

}  // namespace espalier::ops

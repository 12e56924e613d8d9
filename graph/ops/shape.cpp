#include <algorithm>

#include "espalier/autograd/ops.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/operands.h"

namespace espalier::ops {
namespace {

/// Channel c of pixel hw becomes feature hw C + c.
Constants constants_of_flatten(const ConstantArguments& c) {
  const Constants& of_pixel = c("x");
  Constants constants;
  while (!of_pixel.empty() && static_cast<int64_t>(constants.size()) < c.call.output()[-1])
    constants.insert(constants.end(), of_pixel.begin(), of_pixel.end());
  return constants;
}

Constants constants_of_concat(const ConstantArguments& c) {
  Constants constants(static_cast<size_t>(c.call.output()[-1]));
  const std::vector<int64_t>& firsts = c.call.node.channels.values;
  for (size_t k = 0; k < c.values.size(); ++k) std::ranges::copy(c.values[k], constants.begin() + firsts[k]);
  return constants;
}

Constants constants_of_slice(const ConstantArguments& c) {
  const Constants& all = c("x");
  if (all.empty()) return {};
  const auto first = all.begin() + c.call.whole("first");
  return Constants(first, first + c.call.whole("channels"));
}

/// Columns from `x`, rows of x_width, to `y`, rows of y_width.
KernelCall copy_columns_call(Tensor y, int64_t y_width, const Tensor& x, int64_t x_width,
                             int64_t columns, bool adds) {
  const int64_t rows = x.elements() / x_width, bytes = traffic(x) / x_width * columns * (adds ? 3 : 2);
  return {"copy_columns", "", 0, bytes, [=]() mutable {
            ESP_RUN(x.device(), copy_columns(y.f32(), y_width, x.f32(), x_width, columns, rows, adds));
          }};
}

Calls concat_kernels(const KernelContext& op) {
  const Tensor y = output(op, 1);
  const int64_t width = y.shape()[-1];
  Calls calls, back;
  for (size_t i = 0; i < op.call.node.inputs.size(); ++i) {
    const Tensor part = operand(op, op.call.node.inputs[i], 2 + i);
    const int64_t columns = part.shape()[-1];
    calls.push_back(copy_columns_call(y, width, part, columns, columns, false));
    if (op.gradients[i]) back.push_back(copy_columns_call(part, columns, y, width, columns, op.adds[i]));
  }
  std::ranges::move(back, std::back_inserter(calls));
  return calls;
}

/// Backward leaves the other channels' gradient 0.
Calls slice_kernels(const KernelContext& op) {
  const Tensor x = operand(op, "x", 1), y = output(op, 2);
  const int64_t columns = y.shape()[-1], width = x.shape()[-1];
  Calls calls{copy_columns_call(y, columns, x, width, columns, false)};
  if (!op.gradient("x")) return calls;
  if (!op.add("x"))
    calls.push_back({"fill", "", 0, traffic(x),
                     [x = like(x)]() mutable { ESP_RUN(x.device(), fill(x.f32(), 0.0f, x.elements())); }});
  calls.push_back(copy_columns_call(like(x), width, y, columns, columns, op.add("x")));
  return calls;
}

}  // namespace

std::vector<Op> shape_rows() {
  return {{.name = "flatten",
           .inputs = {{"x"}},
           .run = [](const OpArguments& x) { return flatten(x("x")); },
           .constants = constants_of_flatten},
          {.name = "concat",
           .inputs = {{"parts", OpInput::variadic}},
           .run = [](const OpArguments& x) { return concat(x.values); },
           .constants = constants_of_concat,
           .kernels = concat_kernels},
          {.name = "slice",
           .inputs = {{"x"}},
           .attributes = {{"first", int64_t{0}}, {"channels", int64_t{0}}},
           .run =
               [](const OpArguments& x) {
                 return slice(x("x"), x.call.whole("first"), x.call.whole("channels"));
               },
           .constants = constants_of_slice,
           .kernels = slice_kernels}};
}

}  // namespace espalier::ops

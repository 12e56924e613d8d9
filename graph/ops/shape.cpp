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

/// The first columns of `rows` rows of x to those of y.
KernelCall copy_columns_call(Tensor y, const Tensor& x, int64_t rows, int64_t columns, bool adds) {
  const int64_t y_width = y.elements() / rows, x_width = x.elements() / rows,
                bytes = traffic(x, adds ? 3 : 2) / x_width * columns;
  return {"copy_columns", "", 0, bytes, [=]() mutable {
            ESP_RUN(x.device(), copy_columns(y.f32(), y_width, x.f32(), x_width, columns, rows, adds));
          }};
}

/// Places in front of an axis; a negative one counts from the end.
int64_t rows_before(const Shape& shape, int64_t axis) {
  int64_t rows = 1;
  for (int i = 0; i < (axis < 0 ? axis + shape.axes() : axis); ++i) rows *= shape[i];
  return rows;
}

Calls concat_kernels(const KernelContext& op) {
  const Tensor y = output(op, 1);
  const int64_t rows = rows_before(y.shape(), op.call.whole("axis"));
  Calls calls, back;
  for (size_t i = 0; i < op.call.node.inputs.size(); ++i) {
    const Tensor part = operand(op, op.call.node.inputs[i], 2 + i);
    const int64_t columns = part.elements() / rows;
    calls.push_back(copy_columns_call(y, part, rows, columns, false));
    if (op.gradients[i]) back.push_back(copy_columns_call(part, y, rows, columns, op.adds[i]));
  }
  std::ranges::move(back, std::back_inserter(calls));
  return calls;
}

/// Some columns of rows. Backward leaves the gradient of the others 0.
Calls take_columns_kernels(const KernelContext& op, int64_t axis) {
  const Tensor x = operand(op, "x", 1), y = output(op, 2);
  const int64_t rows = rows_before(x.shape(), axis), columns = y.elements() / rows;
  Calls calls{copy_columns_call(y, x, rows, columns, false)};
  if (!op.gradient("x")) return calls;
  if (!op.add("x"))
    calls.push_back({"fill", "", 0, traffic(x),
                     [x = like(x)]() mutable { ESP_RUN(x.device(), fill(x.f32(), 0.0f, x.elements())); }});
  calls.push_back(copy_columns_call(like(x), y, rows, columns, op.add("x")));
  return calls;
}
Calls slice_kernels(const KernelContext& op) { return take_columns_kernels(op, -1); }
Calls select_kernels(const KernelContext& op) { return take_columns_kernels(op, op.call.whole("axis")); }

bool keeps_channels(const OpCall& c) { return c.node.channels.rule == Channels::kept; }

}  // namespace

std::vector<Op> shape_rows() {
  return {
      {.name = "flatten",
       .inputs = {{"x"}},
       .run = [](const OpArguments& x) { return flatten(x("x")); },
       .constants = constants_of_flatten},
      {.name = "concat",
       .inputs = {{"parts", OpInput::variadic}},
       .attributes = {{"axis", int64_t{-1}, false}},  // a graph says it of others than channels
       .run = [](const OpArguments& x) { return concat(x.values, x.call.whole("axis")); },
       .constants = constants_of_concat,
       .keeps_constants = [](const OpCall& c) { return c.whole("axis") == -1; },
       .kernels = concat_kernels},
      {.name = "slice",
       .inputs = {{"x"}},
       .attributes = {{"first", int64_t{0}}, {"channels", int64_t{0}}},
       .run =
           [](const OpArguments& x) {
             return slice(x("x"), x.call.whole("first"), x.call.whole("channels"));
           },
       .constants = constants_of_slice,
       .kernels = slice_kernels},
      {.name = "reshape",
       .inputs = {{"x"}},
       .attributes = {{"sizes", std::vector<int64_t>()}},
       .run =
           [](const OpArguments& x) {
             return reshape(x("x"), x.call.attribute<std::vector<int64_t>>("sizes"));
           },
       .constants = [](const ConstantArguments& c) { return c("x"); },
       .keeps_constants = keeps_channels},
      {.name = "select",
       .inputs = {{"x"}},
       .attributes = {{"axis", int64_t{0}}, {"index", int64_t{0}}},
       .run =
           [](const OpArguments& x) { return select(x("x"), x.call.whole("axis"), x.call.whole("index")); },
       .constants = [](const ConstantArguments& c) { return c("x"); },
       .keeps_constants = keeps_channels,
       .kernels = select_kernels}};
}

}  // namespace espalier::ops

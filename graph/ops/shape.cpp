#include "espalier/graph/ops.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>

#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/kernel_calls.h"
#include "espalier/graph/ops/operand.h"
#include "espalier/graph/ops/tangents.h"

namespace espalier::ops {
namespace {

/// The axis by its number from the front; a negative one counts from the end; -1 where there is none.
int axis_of(const Shape& shape, int64_t axis) {
  const int64_t at = axis < 0 ? axis + shape.axes() : axis;
  return at >= 0 && at < shape.axes() ? static_cast<int>(at) : -1;
}

/// Places before an axis.
int64_t rows_before(const Shape& shape, int axis) {
  int64_t rows = 1;
  for (int i = 0; i < axis; ++i) rows *= shape[i];
  return rows;
}

}  // namespace

Variable flatten(const Variable& x) {
  const Shape& s = x.shape();
  ESP_CHECK(s.axes() == 4, "flatten: expects x [N,H,W,C], found ", s);
  return record({.op = "flatten",
                 .attributes = {},
                 .inputs = {x},
                 .output = x.value().reshape({s[0], s.row_elements()}),
                 .channels = {Channels::flattened, {s[1] * s[2]}},
                 .backward = [](const Tensor& dy, const Gradients& to) { to.give(0, dy); }});
}

Variable concat(const std::vector<Variable>& parts, int64_t axis) {
  ESP_CHECK(!parts.empty(), "concat: nothing to put side by side");
  const Shape& shape = parts[0].shape();
  const int along = axis_of(shape, axis), last = shape.axes() - 1;
  ESP_CHECK(along >= 0 && along <= last && (along > 0 || last == 0), "concat: axis ", axis, " of ", shape,
            ", expected one after the first");
  std::vector<int64_t> firsts;
  int64_t places = 0;
  for (const Variable& part : parts) {
    ESP_CHECK(part.shape().axes() == shape.axes() && part.shape()[along] > 0 &&
                  part.shape().with(along, 1) == shape.with(along, 1),
              "concat: expects shapes that differ only in ",
              along == last ? "their last axis" : join("axis ", along), ", found ", shape, " and ",
              part.shape());
    check_dtype("concat", part.value(), parts[0].value());
    firsts.push_back(places);
    places += part.shape()[along];
  }
  // Of as many rows as there are places before the axis, columns from there on.
  const int64_t rows = rows_before(shape, along);
  const int64_t inner = shape.elements() / (rows * shape[along]), width = places * inner;
  Tensor y = parts[0].value().like(shape.with(along, places));
  std::vector<int64_t> widths, columns;
  for (size_t k = 0; k < parts.size(); ++k) {
    columns.push_back(firsts[k] * inner);
    widths.push_back(parts[k].shape()[along] * inner);
    ESP_RUN_REAL(y, copy_columns(y.data<Real>() + columns[k], width, parts[k].value().data<Real>(), widths[k],
                                 widths[k], rows, false));
  }
  const bool of_channels = along == last;
  return record({.op = "concat",
                 .attributes = of_channels ? Attributes{} : Attributes{{"axis", int64_t{along}}},
                 .inputs = parts,
                 .output = y,
                 .channels = of_channels ? Channels{Channels::joined, firsts} : Channels{Channels::tied},
                 .backward = [columns, widths, width, rows](const Tensor& dy, const Gradients& to) {
                   for (size_t k = 0; k < columns.size(); ++k) {
                     if (!to.needed(k)) continue;
                     const auto dx = to.into(k);
                     ESP_RUN_REAL(dy, copy_columns(dx.data<Real>(), widths[k], dy.data<Real>() + columns[k],
                                                   width, widths[k], rows, dx.accumulate));
                   }
                 }});
}

namespace {

Variable slice(const Variable& x, int64_t first, int64_t channels, Channels rule) {
  const Shape& shape = x.shape();
  ESP_CHECK(shape.axes() >= 1 && first >= 0 && channels > 0 && channels <= shape[-1] &&
                first <= shape[-1] - channels,
            "slice: ", channels, " channels from ", first, " on are not all in x ", shape);
  const int64_t width = shape[-1], rows = shape.elements() / width;
  Tensor y = x.value().like(shape.with(-1, channels));
  ESP_RUN_REAL(y, copy_columns(y.data<Real>(), channels, x.value().data<Real>() + first, width, channels,
                               rows, false));
  return record({.op = "slice",
                 .attributes = {{"first", first}, {"channels", channels}},
                 .inputs = {x},
                 .output = y,
                 .channels = std::move(rule),
                 .backward = [=](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   if (!dx.accumulate) dx.gradient.fill(0.0f);
                   ESP_RUN_REAL(dy, copy_columns(dx.data<Real>() + first, width, dy.data<Real>(), channels,
                                                 channels, rows, dx.accumulate));
                 }});
}

}  // namespace

Variable slice(const Variable& x, int64_t first, int64_t channels) {
  return slice(x, first, channels, {Channels::sliced, {first, channels}});
}

Variable reshape(const Variable& x, const std::vector<int64_t>& sizes) {
  const Shape& shape = x.shape();
  const auto refuse = [&] {
    fail("reshape: ", shape, " to [N, ", fmt::format("{}", fmt::join(sizes, ", ")),
         "]: expects as many numbers an image");
  };
  if (shape.axes() < 1 || sizes.size() >= Shape::max_axes) refuse();
  int64_t known = 1;
  size_t open = sizes.size();
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == -1 && open == sizes.size())
      open = i;
    else if (sizes[i] < 1 || __builtin_mul_overflow(known, sizes[i], &known))
      refuse();
  }
  const int64_t each = shape.row_elements();
  std::vector<int64_t> full{shape[0]};
  full.insert(full.end(), sizes.begin(), sizes.end());
  if (open < sizes.size()) full[open + 1] = each / known;
  const Shape to{std::span<const int64_t>(full)};
  if (to.row_elements() != each) refuse();
  const bool keeps = to.axes() > 1 && shape.axes() > 1 && to[-1] == shape[-1];
  // Said so that it stays true where channels are cut.
  std::vector<int64_t> said(full.begin() + 1, full.end());
  if (keeps) said.back() = -1;
  return record({.op = "reshape",
                 .attributes = {{"sizes", said}},
                 .inputs = {x},
                 .output = x.value().reshape(to),
                 .channels = keeps ? Channels::kept : Channels::whole,
                 .backward = [](const Tensor& dy, const Gradients& gradients) { gradients.give(0, dy); }});
}

Variable select(const Variable& x, int64_t axis, int64_t index) {
  const Shape& shape = x.shape();
  const int along = axis_of(shape, axis);
  ESP_CHECK(along > 0 && along < shape.axes(), "select: axis ", axis, " of ", shape,
            ", expected one after the first");
  ESP_CHECK(index >= 0 && index < shape[along], "select: place ", index, " is not on axis ", axis, " of ",
            shape);
  std::vector<int64_t> sizes(shape.sizes().begin(), shape.sizes().end());
  sizes.erase(sizes.begin() + along);
  const int64_t rows = rows_before(shape, along);
  const int64_t width = shape.elements() / std::max<int64_t>(rows, 1), columns = width / shape[along],
                first = index * columns;
  Tensor y = x.value().like(Shape(std::span<const int64_t>(sizes)));
  ESP_RUN_REAL(
      y, copy_columns(y.data<Real>(), columns, x.value().data<Real>() + first, width, columns, rows, false));
  return record({.op = "select",
                 .attributes = {{"axis", int64_t{along}}, {"index", index}},
                 .inputs = {x},
                 .output = y,
                 .channels = along < shape.axes() - 1 ? Channels::kept : Channels::whole,
                 .backward = [=](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   if (!dx.accumulate) dx.gradient.fill(0.0f);
                   ESP_RUN_REAL(dy, copy_columns(dx.data<Real>() + first, width, dy.data<Real>(), columns,
                                                 columns, rows, dx.accumulate));
                 }});
}

// What is to know of it beside how it computes: graph/op.h

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

Calls concat_kernels(const KernelContext& op) {
  const Tensor y = output_of(op, 1);
  const int64_t rows = rows_before(y.shape(), axis_of(y.shape(), op.call.whole("axis")));
  Calls calls, back;
  for (size_t i = 0; i < op.call.node.inputs.size(); ++i) {
    const Tensor part = input_of(op, op.call.node.inputs[i], 2 + i);
    const int64_t columns = part.elements() / rows;
    calls.push_back(copy_columns_call(y, part, rows, columns, false));
    if (op.gradients[i]) back.push_back(copy_columns_call(part, y, rows, columns, op.adds[i]));
  }
  std::ranges::move(back, std::back_inserter(calls));
  return calls;
}

/// Some columns of rows. Backward leaves the gradient of the others 0.
Calls take_columns_kernels(const KernelContext& op, int64_t axis) {
  const Tensor x = input_of(op, "x", 1), y = output_of(op, 2);
  const int64_t rows = rows_before(x.shape(), axis_of(x.shape(), axis)), columns = y.elements() / rows;
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
       .tangent = run_on_tangents,
       .homogeneous = in_any_case,
       .constants = constants_of_flatten},
      {.name = "concat",
       .inputs = {{"parts", OpInput::variadic}},
       .attributes = {{"axis", int64_t{-1}, false}},  // a graph says it of others than channels
       .run = [](const OpArguments& x) { return concat(x.values, x.call.whole("axis")); },
       .tangent = run_on_tangents,
       .homogeneous = in_any_case,
       .constants = constants_of_concat,
       .keeps_constants = [](const OpCall& c) { return c.whole("axis") == -1; },
       .kernels = concat_kernels},
      {.name = "slice",
       .inputs = {{"x"}},
       .attributes = {{"first", int64_t{0}}, {"channels", int64_t{0}}},
       .run =
           [](const OpArguments& x) {
             // Which places it takes stands in the graph, and would be others after a cut.
             return slice(x("x"), x.call.whole("first"), x.call.whole("channels"), Channels::whole);
           },
       .tangent = run_on_tangents,
       .homogeneous = in_any_case,
       .constants = constants_of_slice,
       .kernels = slice_kernels},
      {.name = "reshape",
       .inputs = {{"x"}},
       .attributes = {{"sizes", std::vector<int64_t>()}},
       .run =
           [](const OpArguments& x) {
             return reshape(x("x"), x.call.attribute<std::vector<int64_t>>("sizes"));
           },
       .tangent = run_on_tangents,
       .homogeneous = in_any_case,
       .constants = [](const ConstantArguments& c) { return c("x"); },
       .keeps_constants = keeps_channels},
      {.name = "select",
       .inputs = {{"x"}},
       .attributes = {{"axis", int64_t{0}}, {"index", int64_t{0}}},
       .run =
           [](const OpArguments& x) { return select(x("x"), x.call.whole("axis"), x.call.whole("index")); },
       .tangent = run_on_tangents,
       .homogeneous = in_any_case,
       .constants = [](const ConstantArguments& c) { return c("x"); },
       .keeps_constants = keeps_channels,
       .kernels = select_kernels}};
}

}  // namespace espalier::ops

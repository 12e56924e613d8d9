#include "espalier/autograd/ops.h"
#include "espalier/autograd/ops/operand.h"

namespace espalier::ops {

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

Variable concat(const std::vector<Variable>& parts) {
  ESP_CHECK(!parts.empty(), "concat: nothing to put side by side");
  const Shape& shape = parts[0].shape();
  std::vector<int64_t> firsts;
  int64_t channels = 0;
  for (const Variable& part : parts) {
    ESP_CHECK(part.shape().axes() >= 1 && shape.axes() >= 1 && part.shape()[-1] > 0 &&
                  part.shape().with(-1, 1) == shape.with(-1, 1),
              "concat: expects shapes that differ in their last axis alone, found ", shape, " and ",
              part.shape());
    check_dtype("concat", part.value(), parts[0].value());
    firsts.push_back(channels);
    channels += part.shape()[-1];
  }
  const int64_t rows = shape.elements() / shape[-1];
  Tensor y = parts[0].value().like(shape.with(-1, channels));
  std::vector<int64_t> widths;
  for (size_t k = 0; k < parts.size(); ++k) {
    widths.push_back(parts[k].shape()[-1]);
    ESP_RUN_REAL(y, copy_columns(y.data<Real>() + firsts[k], channels, parts[k].value().data<Real>(),
                                 widths[k], widths[k], rows, false));
  }
  return record({.op = "concat",
                 .attributes = {},
                 .inputs = parts,
                 .output = y,
                 .channels = {Channels::joined, firsts},
                 .backward = [firsts, widths, channels, rows](const Tensor& dy, const Gradients& to) {
                   for (size_t k = 0; k < firsts.size(); ++k) {
                     if (!to.needed(k)) continue;
                     const auto dx = to.into(k);
                     ESP_RUN_REAL(dy, copy_columns(dx.data<Real>(), widths[k], dy.data<Real>() + firsts[k],
                                                   channels, widths[k], rows, dx.accumulate));
                   }
                 }});
}

Variable slice(const Variable& x, int64_t first, int64_t channels) {
  const Shape& shape = x.shape();
  ESP_CHECK(shape.axes() >= 1 && first >= 0 && channels > 0 && first + channels <= shape[-1],
            "slice: channels ", first, "..", first + channels - 1, " are not all in x ", shape);
  const int64_t width = shape[-1], rows = shape.elements() / width;
  Tensor y = x.value().like(shape.with(-1, channels));
  ESP_RUN_REAL(y, copy_columns(y.data<Real>(), channels, x.value().data<Real>() + first, width, channels,
                               rows, false));
  return record({.op = "slice",
                 .attributes = {{"first", first}, {"channels", channels}},
                 .inputs = {x},
                 .output = y,
                 .channels = {Channels::sliced, {first, channels}},
                 .backward = [=](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   if (!dx.accumulate) dx.gradient.fill(0.0f);
                   ESP_RUN_REAL(dy, copy_columns(dx.data<Real>() + first, width, dy.data<Real>(), channels,
                                                 channels, rows, dx.accumulate));
                 }});
}

}  // namespace espalier::ops

// What ONNX ops that move numbers are here: onnx.ai/onnx/operators has their definitions.
#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "espalier/onnx/fold.h"
#include "espalier/onnx/import_ops.h"
#include "espalier/util/error.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

void flatten(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  const int64_t axis = node.whole("axis").value_or(1);
  ESP_CHECK(onnx_axis(axis, x.dims.size()) == 1, "from axis ", axis, ", expected 1");
  in.put(node,
         in.reshaped(x, {1, std::accumulate(x.dims.begin(), x.dims.end(), int64_t{1}, std::multiplies<>())}));
}

void reshape(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  const auto wanted = in.numbers(node, "shape", 1);
  ESP_CHECK(wanted, "does not say its shape");
  OnnxDims dims = *wanted;
  const bool keeps_zeros = node.whole("allowzero").value_or(0) != 0;
  int64_t all = 1, known = 1, open = 0;
  for (const int64_t size : x.dims) all *= size;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0 && !keeps_zeros && i < x.dims.size()) dims[i] = x.dims[i];
    ESP_CHECK(dims[i] >= -1 && dims[i] <= all, "to an axis of ", dims[i], ", of ", all, " numbers");
    if (dims[i] == -1)
      ++open;
    else
      known *= std::max<int64_t>(dims[i], 1);
    ESP_CHECK(known <= all, "to more numbers than the ", all, " there are");
  }
  ESP_CHECK(open <= 1 && (open == 0 || all % known == 0), "to a shape that does not fit ", all, " numbers");
  std::ranges::replace(dims, int64_t{-1}, all / known);
  in.put(node, in.reshaped(x, dims));
}

void squeeze(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  const auto axes = in.numbers(node, "axes", 1);
  ESP_CHECK(axes, "does not say its axes, and would drop the batch's where it is one image");
  OnnxDims dims = x.dims;
  for (const int64_t axis : *axes) dims[onnx_axis(axis, x.dims.size())] = -1;
  for (size_t i = 0; i < dims.size(); ++i)
    ESP_CHECK(dims[i] != -1 || x.dims[i] == 1, "drops an axis of ", x.dims[i]);
  std::erase(dims, -1);
  in.put(node, in.reshaped(x, dims));
}

void unsqueeze(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  in.put(node, in.reshaped(x, unsqueezed_sizes(x.dims, in.numbers(node, "axes", 1))));
}

void transpose(OnnxImporter& in, const OnnxNode& node) {
  OnnxValue x = in.value(node, 0);
  if (x.positions > 1) x = in.plain(x);
  std::vector<int64_t> axes(x.dims.size());
  std::iota(axes.rbegin(), axes.rend(), 0);
  axes = node.list("perm").value_or(axes);
  std::vector<int64_t> sorted = axes, all(x.dims.size());
  std::ranges::sort(sorted);
  std::iota(all.begin(), all.end(), 0);
  ESP_CHECK(sorted == all && axes[0] == 0, "its axes are not each there once, and the batch's first");
  OnnxDims dims;
  for (const int64_t axis : axes) dims.push_back(x.dims[static_cast<size_t>(axis)]);
  in.put(node, {.variable = x.variable, .dims = dims, .layout = transposed_layout(x.layout, axes)});
}

/// A constant beside values is a parameter for each image, as a class token is.
OnnxValue part_of(OnnxImporter& in, const OnnxNode& node, size_t input, const OnnxValue& beside) {
  if (in.is_value(node, input)) return in.value(node, input);
  const OnnxConstant& constant = in.needed_constant(node, input, "part");
  ESP_CHECK(!constant.is_whole() && !constant.dims.empty() && constant.dims[0] == 1, "puts a constant of ",
            constant.dims.size(), " axes beside what depends on the images, expected one image's");
  const Shape shape(std::span<const int64_t>(constant.dims));
  const Variable one = in.numbers_beside(node, constant, shape, input);
  return {.variable = ops::expand(in.plain(beside).variable, one),
          .dims = constant.dims,
          .layout = plain_layout(constant.dims.size())};
}

void concat(OnnxImporter& in, const OnnxNode& node) {
  size_t first = 0;
  while (first + 1 < node.inputs.size() && !in.is_value(node, first)) ++first;
  const OnnxValue beside = in.value(node, first);
  const size_t axis = onnx_axis(node.whole("axis").value_or(1), beside.dims.size());
  std::vector<Variable> parts;
  OnnxDims dims = beside.dims;
  const OnnxLayout layout = beside.positions > 1 ? plain_layout(beside.dims.size()) : beside.layout;
  dims[axis] = 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const OnnxValue part = part_of(in, node, i, beside);
    ESP_CHECK(part.dims.size() == dims.size(), "its parts have ", dims.size(), " and ", part.dims.size(),
              " axes");
    parts.push_back(in.arranged(part, layout).variable);
    dims[axis] += part.dims[axis];
  }
  const auto at = std::ranges::find(layout, static_cast<int>(axis)) - layout.begin();
  const bool last = at + 1 == std::ssize(layout);
  in.put(node, {.variable = ops::concat(parts, last ? -1 : at), .dims = dims, .layout = layout});
}

/// The places `first` .. `first + count - 1` along an axis.
OnnxValue taken(OnnxImporter& in, OnnxValue x, size_t axis, int64_t first, int64_t count) {
  if (first == 0 && count == x.dims[axis]) return x;
  ESP_CHECK(axis > 0, "takes some images of a batch");
  ESP_CHECK(count > 0 && first >= 0 && first + count <= x.dims[axis], "takes ", count, " places from ", first,
            " of ", x.dims[axis]);
  if (x.positions > 1) x = in.plain(x);
  if (x.layout.back() != static_cast<int>(axis)) {
    ESP_CHECK(x.dims.size() != 4 || axis == 1, "takes some pixels of images, expected some channels");
    OnnxLayout last = x.layout;
    std::erase(last, static_cast<int>(axis));
    last.push_back(static_cast<int>(axis));
    x = in.arranged(x, x.dims.size() == 4 && axis == 1 ? image_layout : last);
  }
  x.variable = ops::slice(x.variable, first, count);
  x.dims[axis] = count;
  return x;
}

void slice(OnnxImporter& in, const OnnxNode& node) {
  OnnxValue x = in.value(node, 0);
  const auto starts = in.numbers(node, "starts", 1), ends = in.numbers(node, "ends", 2),
             axes = in.numbers(node, "axes", 3), steps = in.numbers(node, "steps", 4);
  for (const OnnxRange& range : slice_ranges(x.dims, starts, ends, axes, steps))
    x = taken(in, std::move(x), range.axis, range.first, range.count);
  in.put(node, x);
}

void split(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue x = in.value(node, 0);
  const size_t axis = onnx_axis(node.whole("axis").value_or(0), x.dims.size());
  const int64_t all = x.dims[axis], parts = std::ssize(node.outputs);
  std::vector<int64_t> sizes(static_cast<size_t>(parts), (all + parts - 1) / parts);
  sizes.back() = all - (parts - 1) * sizes.front();  // the last may be smaller
  sizes = in.numbers(node, "split", 1).value_or(sizes);
  ESP_CHECK(std::ssize(sizes) == parts && std::accumulate(sizes.begin(), sizes.end(), int64_t{0}) == all,
            "its parts are not as many as it says, or not ", all, " places together");
  int64_t first = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (in.is_read(node.outputs[i])) in.put(node.outputs[i], taken(in, x, axis, first, sizes[i]));
    first += sizes[i];
  }
}

/// One place along an axis, which is then gone; or places that follow each other.
void gather(OnnxImporter& in, const OnnxNode& node) {
  OnnxValue x = in.value(node, 0);
  const OnnxConstant& places = in.needed_constant(node, 1, "places");
  const size_t axis = onnx_axis(node.whole("axis").value_or(0), x.dims.size());
  ESP_CHECK(places.is_whole() && axis > 0, "takes some images of a batch");
  std::vector<int64_t> at = places.integers;
  for (int64_t& place : at) {
    place += place < 0 ? x.dims[axis] : 0;
    ESP_CHECK(place >= 0 && place < x.dims[axis], "looks for place ", place, " of ", x.dims[axis]);
  }
  if (!places.dims.empty()) {
    for (size_t i = 1; i < at.size(); ++i)
      ESP_CHECK(at[i] == at[0] + static_cast<int64_t>(i), "takes places out of order");
    ESP_CHECK(!at.empty() && places.dims.size() == 1, "takes no places, or a table of them");
    return in.put(node, taken(in, x, axis, at[0], std::ssize(at)));
  }
  x = in.plain(x);
  x.variable = ops::select(x.variable, static_cast<int64_t>(axis), at[0]);
  x.dims.erase(x.dims.begin() + static_cast<std::ptrdiff_t>(axis));
  x.layout = plain_layout(x.dims.size());
  in.put(node, x);
}

void pad(OnnxImporter& in, const OnnxNode& node) {
  const Variable x = in.image(node, 0);
  ESP_CHECK(node.text("mode").value_or("constant") == "constant", "its mode is '",
            printable(node.text("mode").value_or("")), "', expected constant");
  const auto pads = in.numbers(node, "pads", 1);
  ESP_CHECK(pads && pads->size() == 8 && !node.has(3), "its pads are not those of [N,C,H,W]");
  const auto& p = *pads;
  ESP_CHECK(p[0] == 0 && p[1] == 0 && p[4] == 0 && p[5] == 0, "adds images or channels");
  const Padding sides{p[2], p[3], p[6], p[7]};
  const float value = in.one_number(node, "value", 2, 0.0f);
  in.put_image(node, sides == 0 ? x : ops::pad(x, sides, value));
}

void shape(OnnxImporter& in, const OnnxNode& node) {
  const OnnxDims& dims = in.value(node, 0).dims;
  const auto size = static_cast<int64_t>(dims.size());
  const auto within = [size](int64_t at) { return std::clamp(at < 0 ? at + size : at, int64_t{0}, size); };
  const int64_t start = within(node.whole("start").value_or(0)),
                end = within(node.whole("end").value_or(size));
  in.add_constant(node.output(),
                  constant_of_sizes({dims.begin() + start, dims.begin() + std::max(start, end)}));
}

/// To as much as it is already, for one image: what a batch is to be is the batch's own.
void expand(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  const auto to = in.numbers(node, "shape", 1);
  ESP_CHECK(to && to->size() <= x.dims.size(), "does not say its shape");
  for (size_t i = 0; i < to->size(); ++i) {
    const int64_t size = (*to)[to->size() - 1 - i];
    ESP_CHECK(size == 1 || size == x.dims[x.dims.size() - 1 - i], "repeats what depends on the images");
  }
  in.put(node, x);
}

}  // namespace

OnnxHandlers onnx_shapes() {
  return {{"Concat", concat}, {"Expand", expand},   {"Flatten", flatten},     {"Gather", gather},
          {"Pad", pad},       {"Reshape", reshape}, {"Shape", shape},         {"Slice", slice},
          {"Split", split},   {"Squeeze", squeeze}, {"Transpose", transpose}, {"Unsqueeze", unsqueeze}};
}

}  // namespace espalier

// What each ONNX op is here: onnx.ai/onnx/operators has their definitions.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "espalier/onnx/fold.h"
#include "espalier/onnx/importer.h"
#include "espalier/onnx/patterns.h"
#include "espalier/util/error.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

constexpr float unbounded = std::numeric_limits<float>::infinity();

// --- windows

/// A window's sizes, strides and padding, by ONNX's attributes.
struct Windows {
  ByAxis size = 1, stride = 1, dilation = 1;
  Padding pad = 0;
  bool ceil = false;
};

ByAxis by_axis(const OnnxNode& node, const char* attribute, ByAxis otherwise) {
  const auto list = node.list(attribute);
  if (!list) return otherwise;
  ESP_CHECK(list->size() == 2, "its ", attribute, " are for ", list->size(), " axes, expected images of two");
  return {(*list)[0], (*list)[1]};
}

/// As much that ceil(pixels / stride) windows fit, the odd one after the image, or before it.
void pad_alike(int64_t pixels, int64_t size, int64_t stride, int64_t dilation, bool before, int64_t& front,
               int64_t& back) {
  const int64_t windows = (pixels + stride - 1) / stride,
                all = std::max<int64_t>(0, (windows - 1) * stride + (size - 1) * dilation + 1 - pixels);
  front = before ? all - all / 2 : all / 2;
  back = all - front;
}

Windows windows_of(const OnnxNode& node, ByAxis size, const Shape& image) {
  Windows windows{.size = size,
                  .stride = by_axis(node, "strides", 1),
                  .dilation = by_axis(node, "dilations", 1),
                  .ceil = node.whole("ceil_mode").value_or(0) != 0};
  const auto in_range = [](const ByAxis& by) {
    return std::min(by.down, by.across) >= 1 && std::max(by.down, by.across) <= WindowAxis::most;
  };
  ESP_CHECK(in_range(size) && in_range(windows.stride) && in_range(windows.dilation), "has windows of ", size,
            ", strides of ", windows.stride, " and dilations of ", windows.dilation, ", expected 1 to ",
            WindowAxis::most);
  const std::string by_itself = node.text("auto_pad").value_or("NOTSET");
  if (by_itself == "SAME_UPPER" || by_itself == "SAME_LOWER") {
    const bool before = by_itself == "SAME_LOWER";
    Padding& pad = windows.pad;
    pad_alike(image[1], size.down, windows.stride.down, windows.dilation.down, before, pad.top, pad.bottom);
    pad_alike(image[2], size.across, windows.stride.across, windows.dilation.across, before, pad.left,
              pad.right);
  } else if (by_itself == "NOTSET" || by_itself.empty()) {
    const auto pads = node.list("pads").value_or(std::vector<int64_t>(4, 0));
    ESP_CHECK(pads.size() == 4, "its pads are for ", pads.size() / 2, " axes, expected images of two");
    windows.pad = {pads[0], pads[1], pads[2], pads[3]};
  } else {
    ESP_CHECK(by_itself == "VALID", "its auto_pad is '", printable(by_itself),
              "', expected NOTSET, SAME_UPPER, SAME_LOWER or VALID");
  }
  return windows;
}

// --- layers

void conv(OnnxImporter& in, const OnnxNode& node) {
  const Variable x = in.image(node, 0);
  const OnnxConstant& weight = in.needed_constant(node, 1, "weight");
  const auto& d = weight.dims;
  ESP_CHECK(d.size() == 4, "its weight has ", d.size(), " axes, expected [O,I,Kh,Kw]");
  const Windows windows = windows_of(node, {d[2], d[3]}, x.shape());
  const std::string layer = in.layer_of(node, 1);
  const Variable w =
      in.parameter(layer + ".weight", weight, {d[0], d[1], d[2], d[3]}, {d[0], d[2], d[3], d[1]});
  Variable b;
  if (node.has(2)) b = in.parameter_beside(w, "bias", in.needed_constant(node, 2, "bias"));
  in.put_image(node, ops::conv2d(x, w, b,
                                 {.stride = windows.stride,
                                  .pad = windows.pad,
                                  .groups = node.whole("group").value_or(1),
                                  .dilation = windows.dilation}));
}

OnnxConstant scaled(OnnxConstant numbers, float factor) {
  if (factor == 1.0f) return numbers;
  for (float& number : numbers.numbers) number *= factor;
  numbers.name.clear();
  return numbers;
}

/// [O,I] of [I,O]
OnnxConstant turned(const OnnxConstant& matrix) {
  OnnxConstant made = *folded(OnnxNode("Transpose", "", {"x"}, "y"), {&matrix});
  made.name =
      matrix.name.empty() ? "" : matrix.name + " turned";  // not the parameter that the matrix is as it is
  return made;
}

/// `weight` [O,I]
void put_linear(OnnxImporter& in, const OnnxNode& node, const OnnxValue& x, const OnnxConstant& weight,
                const OnnxConstant* bias) {
  const Shape shape{weight.dims[0], weight.dims[1]};
  const std::string layer = in.layer_of(node, 1);
  OnnxConstant columns = weight;  // of a flattened image they lie otherwise than of other features
  if (x.positions > 1 && !columns.name.empty()) columns.name += join(" by ", x.positions);
  const Variable w = in.parameter(layer + ".weight", columns, shape, shape);
  Variable b;
  ESP_CHECK(!bias || !bias->is_whole(), "its bias holds whole numbers, or none, expected floats");
  if (bias && bias->elements() == 1 && shape[0] > 1) {
    OnnxConstant one_each{.dims = {shape[0]},
                          .numbers = std::vector<float>(static_cast<size_t>(shape[0]), bias->numbers[0])};
    b = in.parameter_beside(w, "bias", one_each);
  } else if (bias) {
    b = in.parameter_beside(w, "bias", *bias);
  }
  OnnxDims dims = x.dims;
  dims.back() = shape[0];
  in.put(node,
         {.variable = ops::linear(x.variable, w, b), .dims = dims, .layout = plain_layout(dims.size())});
}

/// What a linear layer reads: rows as they lie, for the layer's columns may lie so, too
/// (FileLayout::flattened); with more axes as ONNX has them.
OnnxValue rows_of(OnnxImporter& in, const OnnxNode& node, int64_t columns) {
  OnnxValue x = in.value(node, 0);
  ESP_CHECK(x.dims.size() >= 2 && x.dims.back() == columns, "of ", x.dims.empty() ? 0 : x.dims.back(),
            " columns, its weight expects ", columns);
  return x.dims.size() == 2 ? x : in.plain(std::move(x));
}

void gemm(OnnxImporter& in, const OnnxNode& node) {
  ESP_CHECK(node.whole("transA").value_or(0) == 0, "transposes images");
  OnnxConstant weight = in.needed_constant(node, 1, "weight");
  ESP_CHECK(weight.dims.size() == 2 && !weight.is_whole(), "its weight is no matrix of floats");
  if (node.whole("transB").value_or(0) == 0) weight = turned(weight);
  weight = scaled(weight, node.real("alpha").value_or(1.0f));
  OnnxConstant bias;
  if (node.has(2)) {
    bias = in.needed_constant(node, 2, "bias");
    ESP_CHECK(!bias.is_whole() && (bias.elements() == weight.dims[0] || bias.elements() == 1),
              "its bias has ", bias.elements(), " numbers, expected ", weight.dims[0]);
    bias = scaled(bias, node.real("beta").value_or(1.0f));
  }
  put_linear(in, node, rows_of(in, node, weight.dims[1]), weight, node.has(2) ? &bias : nullptr);
}

void matmul(OnnxImporter& in, const OnnxNode& node) {
  if (!in.is_value(node, 1)) {
    const OnnxConstant& weight = in.needed_constant(node, 1, "second factor");
    ESP_CHECK(weight.dims.size() == 2 && !weight.is_whole(), "its second factor is no matrix of floats");
    put_linear(in, node, rows_of(in, node, weight.dims[0]), turned(weight),
               node.op == matmul_with_bias ? in.constant(node, 2) : nullptr);
    return;
  }
  OnnxValue factors[2] = {in.value(node, 0), in.value(node, 1)};
  ESP_CHECK(factors[0].dims.size() == factors[1].dims.size() && factors[0].dims.size() >= 3,
            "its factors have ", factors[0].dims.size(), " and ", factors[1].dims.size(),
            " axes, expected as many, from 3");
  const size_t axes = factors[0].dims.size();
  OnnxLayout turned = plain_layout(axes);
  std::swap(turned[axes - 1], turned[axes - 2]);
  bool is_turned[2];
  for (int i = 0; i < 2; ++i) {
    is_turned[i] = factors[i].layout == turned;
    if (!is_turned[i]) factors[i] = in.plain(factors[i]);
  }
  OnnxDims dims = factors[0].dims;
  dims.back() = factors[1].dims.back();
  in.put(node, {.variable = ops::matmul(factors[0].variable, factors[1].variable, is_turned[0], is_turned[1]),
                .dims = dims,
                .layout = plain_layout(axes)});
}

/// "bn1" of "bn1.weight", where all four are named as PyTorch does.
void batch_norm(OnnxImporter& in, const OnnxNode& node) {
  OnnxValue x = in.value(node, 0);
  if (x.dims.size() == 4)
    x = in.arranged(x, image_layout);
  else
    x = in.plain(x);
  ESP_CHECK(x.dims.size() == 4 || x.dims.size() == 2, "of ", x.dims.size(), " axes, expected images or rows");
  const float eps = node.real("epsilon").value_or(1e-5f);
  ESP_CHECK(std::isfinite(eps) && eps >= 0, "has an epsilon of ", eps);
  ESP_CHECK(node.whole("spatial").value_or(1) == 1, "has statistics of each pixel (spatial = 0)");
  const int64_t c = x.dims[1];
  const std::string layer = in.layer_of(node, 1);
  const Variable gamma = in.parameter(layer + ".weight", in.needed_constant(node, 1, "scale"), {c}, {c});
  const auto part = [&](size_t input, const char* name) {
    const OnnxConstant& numbers = in.needed_constant(node, input, name);
    ESP_CHECK(numbers.elements() == c, "its ", name, " has ", numbers.elements(), " numbers, expected ", c);
    return in.parameter_beside(gamma, name, numbers);
  };
  const ops::BatchNorm norm{.gamma = gamma,
                            .beta = part(2, "bias"),
                            .running_mean = part(3, "running_mean"),
                            .running_variance = part(4, "running_var"),
                            .eps = eps,
                            .momentum = 1.0f - node.real("momentum").value_or(0.9f),
                            .training = false};
  if (node.whole("training_mode").value_or(0) != 0 || node.outputs.size() > 1)
    in.note_once(
        "norms were saved in training mode; here they normalise by their running statistics when they infer");
  in.add_buffer(std::string(layer_name(gamma.name())) + ".num_batches_tracked",
                Tensor::zeros({}, DType::i64));
  in.put_like(node, x, ops::batch_norm(x.variable, norm));
}

void layer_norm(OnnxImporter& in, const OnnxNode& node) {
  OnnxValue x = in.value(node, 0);
  const size_t axis = onnx_axis(node.whole("axis").value_or(-1), x.dims.size());
  ESP_CHECK(axis + 1 == x.dims.size(), "normalises from axis ", axis, " of ", x.dims.size(),
            ", expected the last");
  if (x.positions > 1 || x.layout.back() != static_cast<int>(axis)) x = in.plain(x);
  const int64_t c = x.dims.back();
  const std::string layer = in.layer_of(node, 1);
  const Variable gamma = in.parameter(layer + ".weight", in.needed_constant(node, 1, "scale"), {c}, {c});
  const OnnxConstant zeros{.dims = {c}, .numbers = std::vector<float>(static_cast<size_t>(c), 0.0f)};
  const Variable beta =
      in.parameter_beside(gamma, "bias", node.has(2) ? in.needed_constant(node, 2, "bias") : zeros);
  in.put_like(node, x, ops::layer_norm(x.variable, gamma, beta, node.real("epsilon").value_or(1e-5f)));
}

// --- numbers by themselves

void put_activation(OnnxImporter& in, const OnnxNode& node, Activation f) {
  const OnnxValue& x = in.value(node, 0);
  in.put_like(node, x, ops::activation(x.variable, f));
}

template <Activation f>
void activation(OnnxImporter& in, const OnnxNode& node) {
  put_activation(in, node, f);
}

void gelu(OnnxImporter& in, const OnnxNode& node) {
  ESP_CHECK(node.text("approximate").value_or("none") == "none", "approximates, expected the exact one");
  put_activation(in, node, Activation::gelu);
}

void hard_sigmoid(OnnxImporter& in, const OnnxNode& node) {
  const float alpha = node.real("alpha").value_or(0.2f);
  ESP_CHECK(std::abs(alpha - 1.0f / 6.0f) < 1e-6f && node.real("beta").value_or(0.5f) == 0.5f, "of slope ",
            alpha, ", expected 1/6");
  put_activation(in, node, Activation::hard_sigmoid);
}

/// x where it is positive, slope x elsewhere.
Variable leaky(const Variable& x, float slope) {
  if (slope == leaky_slope) return ops::activation(x, Activation::leaky_relu);
  return ops::add(ops::scale(ops::activation(x, Activation::relu), 1.0f - slope), ops::scale(x, slope));
}

void leaky_relu(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  const float slope = node.real("alpha").value_or(0.01f);
  ESP_CHECK(std::isfinite(slope), "has a slope of ", slope);
  in.put_like(node, x, leaky(x.variable, slope));
}

float bound(OnnxImporter& in, const OnnxNode& node, const char* attribute, size_t input, float otherwise) {
  if (!node.has(input)) return node.real(attribute).value_or(otherwise);
  const OnnxConstant& found = in.needed_constant(node, input, attribute);
  ESP_CHECK(!found.is_whole() && found.elements() == 1 && !std::isnan(found.numbers[0]), "its ", attribute,
            " is not one float");
  return found.numbers[0];
}

void clip(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  float low = bound(in, node, "min", 1, -unbounded), high = bound(in, node, "max", 2, unbounded);
  if (low == -std::numeric_limits<float>::max()) low = -unbounded;
  if (high == std::numeric_limits<float>::max()) high = unbounded;
  if (low == 0.0f && (high == 6.0f || high == unbounded))
    in.put_like(node, x, ops::activation(x.variable, high == 6.0f ? Activation::relu6 : Activation::relu));
  else
    in.put_like(node, x, ops::clip(x.variable, low, high));
}

/// The numbers of each channel of x that a constant says, [C], if it says one for each; x's last axis in
/// memory is then their axis.
std::optional<OnnxConstant> by_channel(const OnnxValue& x, const OnnxConstant& constant) {
  if (x.positions > 1 || constant.dims.size() > x.dims.size()) return std::nullopt;
  const size_t channels = static_cast<size_t>(x.layout.back()),
               missing = x.dims.size() - constant.dims.size();
  for (size_t i = 0; i < constant.dims.size(); ++i)
    if (constant.dims[i] != (i + missing == channels ? x.dims[channels] : 1)) return std::nullopt;
  if (channels < missing) return std::nullopt;
  OnnxConstant flat = constant;
  flat.dims = {constant.elements()};
  return flat;
}

/// The value with one number for each channel last in memory, if there is such an axis.
std::optional<std::pair<OnnxValue, OnnxConstant>> beside_channels(OnnxImporter& in, const OnnxValue& x,
                                                                  const OnnxConstant& constant) {
  if (auto flat = by_channel(x, constant)) return std::pair{x, *flat};
  std::vector<OnnxLayout> others{plain_layout(x.dims.size())};
  if (x.dims.size() == 4) others.push_back(image_layout);
  for (const OnnxLayout& layout : others) {
    OnnxValue said = x;
    said.layout = layout;
    said.positions = 1;
    if (auto flat = by_channel(said, constant)) return std::pair{in.arranged(x, layout), *flat};
  }
  return std::nullopt;
}

/// Numbers that are no layer's: learned, as those of PyTorch's modules are. Where exporters wrote equal ones
/// once, each is its own.
Variable numbers_beside(OnnxImporter& in, const OnnxNode& node, OnnxConstant numbers, const Shape& shape,
                        size_t input) {
  const std::string name = std::exchange(numbers.name, "");
  const bool is_named =
      !name.empty() && name.find('/') == std::string::npos && name.find(':') == std::string::npos;
  return in.parameter(is_named ? name : in.layer_of(node, input) + ".numbers", numbers, shape, shape);
}

/// One of each channel's neighbours: [N,C,1,1] beside [N,C,H,W].
bool is_beside(const OnnxValue& big, const OnnxValue& small) {
  return big.dims.size() == 4 && small.dims == OnnxDims{1, big.dims[1], 1, 1} && big.dims != small.dims;
}

using Binary = Variable (*)(const Variable&, const Variable&);

void two_values(OnnxImporter& in, const OnnxNode& node, Binary op) {
  OnnxValue a = in.value(node, 0), b = in.value(node, 1);
  if (is_beside(b, a)) std::swap(a, b);
  if (is_beside(a, b)) {
    a = in.arranged(a, image_layout);
    b = in.arranged(b, image_layout);
  } else {
    ESP_CHECK(a.dims == b.dims, "of ", Shape(std::span<const int64_t>(a.dims)), " and ",
              Shape(std::span<const int64_t>(b.dims)), ", expected the same, or [N,C,1,1] beside [N,C,H,W]");
    if (a.positions != b.positions) {
      a = in.plain(a);
      b = in.plain(b);
    }
    if (a.layout != b.layout) b = in.arranged(b, a.layout);
  }
  in.put_like(node, a, op(a.variable, b.variable));
}

/// One number for each channel, of which a file says one for all.
Variable number_beside(OnnxImporter& in, const OnnxNode& node, const OnnxValue& x, float number,
                       size_t input) {
  const int64_t c = x.variable.shape()[-1];
  const OnnxConstant each{.dims = {c}, .numbers = std::vector<float>(static_cast<size_t>(c), number)};
  return numbers_beside(in, node, each, {c}, input);
}

void add_constant(OnnxImporter& in, const OnnxNode& node, const OnnxValue& x, const OnnxConstant& constant,
                  size_t input) {
  ESP_CHECK(!constant.is_whole(), "adds whole numbers to floats");
  if (constant.elements() == 1 && constant.dims.size() <= x.dims.size()) {
    const float number = constant.numbers[0];
    if (number == 0.0f) return in.put(node, x);
    return in.put_like(node, x, ops::add(x.variable, number_beside(in, node, x, number, input)));
  }
  if (const auto found = beside_channels(in, x, constant)) {
    const auto& [value, flat] = *found;
    const Variable b = numbers_beside(in, node, flat, {flat.dims[0]}, input);
    return in.put_like(node, value, ops::add(value.variable, b));
  }
  ESP_CHECK(constant.dims == x.dims, "adds a constant of ", constant.elements(), " numbers",
            ", expected one number a channel, or for each of an image's");
  const OnnxValue value = in.plain(x);
  const Variable one = numbers_beside(in, node, constant, Shape(std::span<const int64_t>(x.dims)), input);
  in.put_like(node, value, ops::add(value.variable, ops::expand(value.variable, one)));
}

void multiply_constant(OnnxImporter& in, const OnnxNode& node, const OnnxValue& x,
                       const OnnxConstant& constant, size_t input) {
  ESP_CHECK(!constant.is_whole(), "multiplies floats by whole numbers");
  if (constant.elements() == 1 && constant.dims.size() <= x.dims.size()) {
    ESP_CHECK(std::isfinite(constant.numbers[0]), "multiplies by ", constant.numbers[0]);
    return in.put_like(node, x, ops::scale(x.variable, constant.numbers[0]));
  }
  const auto found = beside_channels(in, x, constant);
  ESP_CHECK(found, "multiplies by a constant, expected one number, or one a channel");
  const auto& [value, flat] = *found;
  in.put_like(node, value, ops::mul(value.variable, numbers_beside(in, node, flat, {flat.dims[0]}, input)));
}

OnnxConstant mapped(OnnxConstant constant, float (*f)(float)) {
  ESP_CHECK(!constant.is_whole(), "holds whole numbers, expected floats");
  for (float& number : constant.numbers) number = f(number);
  constant.name.clear();
  return constant;
}

void add(OnnxImporter& in, const OnnxNode& node) {
  if (in.is_value(node, 0) && in.is_value(node, 1)) return two_values(in, node, ops::add);
  const size_t constant = in.is_value(node, 0) ? 1 : 0;
  add_constant(in, node, in.value(node, 1 - constant), in.needed_constant(node, constant, "summand"),
               constant);
}

void sub(OnnxImporter& in, const OnnxNode& node) {
  const auto minus = [](const Variable& a, const Variable& b) { return ops::add(a, ops::scale(b, -1.0f)); };
  if (!in.is_value(node, 1))
    return add_constant(in, node, in.value(node, 0),
                        mapped(in.needed_constant(node, 1, "subtrahend"), [](float x) { return -x; }), 1);
  if (!in.is_value(node, 0)) {
    OnnxValue minus_x = in.value(node, 1);
    minus_x.variable = ops::scale(minus_x.variable, -1.0f);
    return add_constant(in, node, minus_x, in.needed_constant(node, 0, "minuend"), 0);
  }
  const OnnxValue &a = in.value(node, 0), &b = in.value(node, 1);
  ESP_CHECK(a.dims == b.dims, "of values of different shapes");
  two_values(in, node, minus);
}

void mul(OnnxImporter& in, const OnnxNode& node) {
  if (in.is_value(node, 0) && in.is_value(node, 1)) return two_values(in, node, ops::mul);
  const size_t constant = in.is_value(node, 0) ? 1 : 0;
  multiply_constant(in, node, in.value(node, 1 - constant), in.needed_constant(node, constant, "factor"),
                    constant);
}

void div(OnnxImporter& in, const OnnxNode& node) {
  multiply_constant(in, node, in.value(node, 0),
                    mapped(in.needed_constant(node, 1, "divisor"), [](float x) { return 1.0f / x; }), 1);
}

void neg(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  in.put_like(node, x, ops::scale(x.variable, -1.0f));
}

/// PReLU: x where it is positive, slope x elsewhere, of a slope for each channel or of one.
void prelu(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  const OnnxConstant& slope = in.needed_constant(node, 1, "slope");
  ESP_CHECK(!slope.is_whole(), "its slope is no float");
  if (slope.elements() == 1) {
    const float one = slope.numbers[0];
    ESP_CHECK(std::isfinite(one), "has a slope of ", one);
    return in.put_like(node, x, leaky(x.variable, one));
  }
  const auto found = beside_channels(in, x, mapped(slope, [](float s) { return -s; }));
  ESP_CHECK(found, "has slopes of ", slope.elements(), " numbers, expected one a channel");
  const auto& [value, flat] = *found;
  const Variable w =
      in.parameter(in.layer_of(node, 1) + ".minus_slope", flat, {flat.dims[0]}, {flat.dims[0]});
  const Variable negative = ops::activation(ops::scale(value.variable, -1.0f), Activation::relu);
  in.put_like(node, value,
              ops::add(ops::activation(value.variable, Activation::relu), ops::mul(negative, w)));
}

}  // namespace

size_t softmax_axis(const OnnxNode& node, const OnnxDims& dims, int64_t opset) {
  const size_t axis = onnx_axis(node.whole("axis").value_or(opset < 13 ? 1 : -1), dims.size());
  for (size_t i = axis + 1; i < dims.size() && opset < 13; ++i)
    ESP_CHECK(dims[i] == 1, "over axes ", axis, " to ", dims.size() - 1,
              " together, as before opset 13, expected one");
  return axis;
}

namespace {

void softmax(OnnxImporter& in, const OnnxNode& node) {
  OnnxValue x = in.value(node, 0);
  const size_t axis = softmax_axis(node, x.dims, in.opset);
  ESP_CHECK(axis > 0, "along the batch");
  if (x.positions > 1 || x.layout.back() != static_cast<int>(axis)) {
    OnnxLayout last = plain_layout(x.dims.size());
    std::erase(last, static_cast<int>(axis));
    last.push_back(static_cast<int>(axis));
    x = in.arranged(x, last);
  }
  in.put_like(node, x, ops::softmax(x.variable));
}

void dropout(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  const float p = bound(in, node, "ratio", 1, 0.5f);
  in.put_like(node, x, ops::dropout(x.variable, p, std::nullopt));
}

/// Floats of another size: all are f32 here.
void cast(OnnxImporter& in, const OnnxNode& node) {
  const int64_t to = node.whole("to").value_or(0);
  ESP_CHECK(is_real_type(to), "of what depends on the images to type ", to, ", expected floats");
  in.put(node, in.value(node, 0));
}

void identity(OnnxImporter& in, const OnnxNode& node) { in.put(node, in.value(node, 0)); }

// --- pooling

void max_pool(OnnxImporter& in, const OnnxNode& node) {
  const Variable x = in.image(node, 0);
  const auto sizes = node.list("kernel_shape");
  ESP_CHECK(sizes && sizes->size() == 2, "expects a window of two axes");
  const Windows w = windows_of(node, {(*sizes)[0], (*sizes)[1]}, x.shape());
  ESP_CHECK(w.dilation == 1, "has dilated windows");
  in.put_image(node, ops::max_pool2d(x, w.size, w.stride, w.pad, w.ceil));
}

void average_pool(OnnxImporter& in, const OnnxNode& node) {
  const Variable x = in.image(node, 0);
  const auto sizes = node.list("kernel_shape");
  ESP_CHECK(sizes && sizes->size() == 2, "expects a window of two axes");
  const Windows w = windows_of(node, {(*sizes)[0], (*sizes)[1]}, x.shape());
  ESP_CHECK(w.dilation == 1, "has dilated windows");
  if (w.size == 1 && w.stride == 1 && w.pad == 0)
    return in.put_image(node, x);  // an adaptive pool's that has nothing to do
  const Shape& s = x.shape();

  const bool all = w.size.down == s[1] && w.size.across == s[2];
  if (all && w.pad == 0) return in.put_image(node, ops::adaptive_average_pool2d(x, 1, 1));
  in.put_image(node, ops::average_pool2d(x, w.size, w.stride, w.pad, w.ceil,
                                         node.whole("count_include_pad").value_or(0) != 0));
}

void global_average_pool(OnnxImporter& in, const OnnxNode& node) {
  in.put_image(node, ops::adaptive_average_pool2d(in.image(node, 0), 1, 1));
}

void global_max_pool(OnnxImporter& in, const OnnxNode& node) {
  constexpr int64_t max_window = 15;  // of the kernels
  Variable x = in.image(node, 0);
  while (x.shape()[1] > 1 || x.shape()[2] > 1) {
    const ByAxis window{std::min(x.shape()[1], max_window), std::min(x.shape()[2], max_window)};
    x = ops::max_pool2d(x, window, window, 0, true);
  }
  in.put_image(node, x);
}

/// Of the pixels of images: a global average pooling.
void reduce_mean(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  std::vector<size_t> axes;
  for (const int64_t axis : in.numbers(node, "axes", 1).value_or(std::vector<int64_t>{}))
    axes.push_back(onnx_axis(axis, x.dims.size()));
  std::ranges::sort(axes);
  // Of [N,H,W,C], too, as networks for phones have it.
  const bool of_images =
      x.dims.size() == 4 && axes.size() == 2 && x.layout[0] == 0 &&
      std::ranges::is_permutation(
          axes, std::vector<size_t>{static_cast<size_t>(x.layout[1]), static_cast<size_t>(x.layout[2])});
  ESP_CHECK(of_images, "expected the mean over the pixels of images");
  OnnxValue mean = x;
  mean.variable = ops::adaptive_average_pool2d(x.variable, 1, 1);
  for (const size_t axis : axes) mean.dims[axis] = 1;
  if (node.whole("keepdims").value_or(1) != 0) return in.put(node, mean);
  in.put(node, in.reshaped(mean, {1, mean.dims[static_cast<size_t>(mean.layout[3])]}));
}

// --- shapes

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
  const Variable one = numbers_beside(in, node, constant, shape, input);
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
  const float value = bound(in, node, "value", 2, 0.0f);
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

const std::map<std::string, OnnxHandler>& handlers() {
  static const std::map<std::string, OnnxHandler> all = {
      {"Add", add},
      {"AveragePool", average_pool},
      {"BatchNormalization", batch_norm},
      {"Cast", cast},
      {"Clip", clip},
      {"Concat", concat},
      {"Conv", conv},
      {"Div", div},
      {"Dropout", dropout},
      {"Expand", expand},
      {"Flatten", flatten},
      {"Gather", gather},
      {"Gelu", gelu},
      {"Gemm", gemm},
      {"GlobalAveragePool", global_average_pool},
      {"GlobalMaxPool", global_max_pool},
      {"HardSigmoid", hard_sigmoid},
      {hard_sigmoid_of_a_sixth, activation<Activation::hard_sigmoid>},
      {"HardSwish", activation<Activation::hard_swish>},
      {"Identity", identity},
      {"LayerNormalization", layer_norm},
      {"LeakyRelu", leaky_relu},
      {"MatMul", matmul},
      {matmul_with_bias, matmul},
      {"MaxPool", max_pool},
      {"Mul", mul},
      {"Neg", neg},
      {"PRelu", prelu},
      {"Pad", pad},
      {"ReduceMean", reduce_mean},
      {"Relu", activation<Activation::relu>},
      {"Reshape", reshape},
      {"Shape", shape},
      {"Sigmoid", activation<Activation::sigmoid>},
      {"Silu", activation<Activation::silu>},
      {"Slice", slice},
      {"Softmax", softmax},
      {"Split", split},
      {"Squeeze", squeeze},
      {"Sub", sub},
      {"Swish", activation<Activation::silu>},
      {"Tanh", activation<Activation::tanh>},
      {"Transpose", transpose},
      {"Unsqueeze", unsqueeze}};
  return all;
}

}  // namespace

OnnxHandler onnx_handler(const std::string& op) {
  const auto found = handlers().find(op);
  return found == handlers().end() ? nullptr : found->second;
}

std::vector<std::string> known_onnx_ops() {
  std::vector<std::string> names;
  for (const auto& [name, handler] : handlers()) names.push_back(name);
  return names;
}

}  // namespace espalier

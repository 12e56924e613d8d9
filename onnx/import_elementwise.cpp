// What ONNX ops of numbers by themselves are here: onnx.ai/onnx/operators has their definitions.
#include <cmath>
#include <limits>
#include <utility>

#include "espalier/onnx/fold.h"
#include "espalier/onnx/import_ops.h"
#include "espalier/onnx/patterns.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {

constexpr float unbounded = std::numeric_limits<float>::infinity();

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

/// max(0, min(1, alpha x + 1/2)) is the hard sigmoid here, of slope 1/6, of 6 alpha x.
void hard_sigmoid(OnnxImporter& in, const OnnxNode& node) {
  const float alpha = node.real("alpha").value_or(0.2f), beta = node.real("beta").value_or(0.5f);
  ESP_CHECK(beta == 0.5f, "is ", beta, " at 0, expected 0.5");
  ESP_CHECK(std::isfinite(6.0f * alpha), "has a slope of ", alpha);
  const OnnxValue& x = in.value(node, 0);
  const Variable scaled = is_of_a_sixth(node) ? x.variable : ops::scale(x.variable, 6.0f * alpha);
  in.put_like(node, x, ops::activation(scaled, Activation::hard_sigmoid));
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

void clip(OnnxImporter& in, const OnnxNode& node) {
  const OnnxValue& x = in.value(node, 0);
  float low = in.one_number(node, "min", 1, -unbounded), high = in.one_number(node, "max", 2, unbounded);
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
  return in.numbers_beside(node, each, {c}, input);
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
    const Variable b = in.numbers_beside(node, flat, {flat.dims[0]}, input);
    return in.put_like(node, value, ops::add(value.variable, b));
  }
  ESP_CHECK(constant.dims == x.dims, "adds a constant of ", constant.elements(), " numbers",
            ", expected one number a channel, or for each of an image's");
  const OnnxValue value = in.plain(x);
  const Variable one = in.numbers_beside(node, constant, Shape(std::span<const int64_t>(x.dims)), input);
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
  in.put_like(node, value, ops::mul(value.variable, in.numbers_beside(node, flat, {flat.dims[0]}, input)));
}

OnnxConstant mapped(OnnxConstant constant, float (*f)(float)) {
  ESP_CHECK(!constant.is_whole(), "holds whole numbers, expected floats");
  for (float& number : constant.numbers) number = f(number);
  constant.name.clear();
  return constant;
}

using WithConstant = void (*)(OnnxImporter&, const OnnxNode&, const OnnxValue&, const OnnxConstant&, size_t);

/// Two values, or a value and a constant, `what`, on either side.
void in_any_order(OnnxImporter& in, const OnnxNode& node, Binary op, WithConstant with_constant,
                  const char* what) {
  if (in.is_value(node, 0) && in.is_value(node, 1)) return two_values(in, node, op);
  const size_t constant = in.is_value(node, 0) ? 1 : 0;
  with_constant(in, node, in.value(node, 1 - constant), in.needed_constant(node, constant, what), constant);
}

void add(OnnxImporter& in, const OnnxNode& node) {
  in_any_order(in, node, ops::add, add_constant, "summand");
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
  in_any_order(in, node, ops::mul, multiply_constant, "factor");
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

/// Which axis a Softmax goes over. Error for several: before opset 13 it went over all from its axis on, 1
/// unless said.
size_t softmax_axis(const OnnxNode& node, const OnnxDims& dims, int64_t opset) {
  const size_t axis = onnx_axis(node.whole("axis").value_or(opset < 13 ? 1 : -1), dims.size());
  for (size_t i = axis + 1; i < dims.size() && opset < 13; ++i)
    ESP_CHECK(dims[i] == 1, "over axes ", axis, " to ", dims.size() - 1,
              " together, as before opset 13, expected one");
  return axis;
}

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
  const float p = in.one_number(node, "ratio", 1, 0.5f);
  in.put_like(node, x, ops::dropout(x.variable, p, std::nullopt));
}

/// Floats of another size: all are f32 here.
void cast(OnnxImporter& in, const OnnxNode& node) {
  const int64_t to = node.whole("to").value_or(0);
  ESP_CHECK(is_real_type(to), "of what depends on the images to type ", to, ", expected floats");
  in.put(node, in.value(node, 0));
}

void identity(OnnxImporter& in, const OnnxNode& node) { in.put(node, in.value(node, 0)); }

}  // namespace

OnnxHandlers onnx_elementwise() {
  return {{"Add", add},
          {"Cast", cast},
          {"Clip", clip},
          {"Div", div},
          {"Dropout", dropout},
          {"Gelu", gelu},
          {"HardSigmoid", hard_sigmoid},
          {hard_sigmoid_of_a_sixth, activation<Activation::hard_sigmoid>},
          {"HardSwish", activation<Activation::hard_swish>},
          {"Identity", identity},
          {"LeakyRelu", leaky_relu},
          {"Mul", mul},
          {"Neg", neg},
          {"PRelu", prelu},
          {"Relu", activation<Activation::relu>},
          {"Sigmoid", activation<Activation::sigmoid>},
          {"Silu", activation<Activation::silu>},
          {"Softmax", softmax},
          {"Sub", sub},
          {"Swish", activation<Activation::silu>},
          {"Tanh", activation<Activation::tanh>}};
}

}  // namespace espalier

// How each op of ours is written in ONNX.
#include <cmath>
#include <limits>
#include <map>

#include "espalier/core/kernels.h"
#include "espalier/graph/ops/activation_bias.h"
#include "espalier/nn/graph_module.h"
#include "espalier/onnx/exporter.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {

using Attributes = OnnxExporter::Attributes;
using Lies = OnnxExporter::Lies;
using Sizes = std::vector<int64_t>;

Sizes sizes_of(const ByAxis& by) { return {by.down, by.across}; }
Sizes sizes_of(const Padding& pad) { return {pad.top, pad.left, pad.bottom, pad.right}; }

bool is_image(const Shape& shape) { return shape.axes() == 4; }

// --- layers

/// A convolution whose norm goes into its numbers: w gamma / sqrt(var + eps), and as much of the bias.
void write_folded(OnnxExporter& out, const OpCall& conv, const GraphNode& norm, OnnxExporter::Inputs inputs,
                  const Attributes& attributes) {
  const OpCall n(out.graph, norm, *find_op(norm.op));
  const auto numbers = [&](const char* name) { return out.tensor(n.input(name)).f32(); };
  const float *gamma = numbers("weight"), *beta = numbers("bias"), *mean = numbers("running_mean"),
              *variance = numbers("running_var");
  Tensor weight = out.tensor(conv.input("weight")).clone();
  const int64_t filters = weight.shape()[0], each = weight.shape().row_elements();
  Tensor bias = conv.has("bias") ? out.tensor(conv.input("bias")).clone() : Tensor::zeros({filters});
  for (int64_t o = 0; o < filters; ++o) {
    const double scale = gamma[o] / std::sqrt(double{variance[o]} + double{n.real("eps")});
    for (int64_t i = 0; i < each; ++i) {
      float& w = weight.f32()[o * each + i];
      w = static_cast<float>(w * scale);
    }
    bias.f32()[o] = static_cast<float>((double{bias.f32()[o]} - mean[o]) * scale + beta[o]);
  }
  inputs.resize(1);
  const std::string folded = "folded_into_" + out.graph.layer_of(norm);
  inputs.push_back(out.parameter_as(conv.input("weight"), folded, weight));
  const std::string layer = out.graph.layer_of(conv.node);
  inputs.push_back(conv.has("bias") ? out.parameter_as(conv.input("bias"), folded, bias)
                                    : out.constant(layer + ".bias", bias));
  out.put(conv.node, out.add(conv.node, "Conv", inputs, attributes), Lies::image);
}

void conv2d(OnnxExporter& out, const OpCall& call) {
  const Shape& weight = call.shape("weight");  // [O,Kh,Kw,I]
  OnnxExporter::Inputs inputs{out.value(call.input("x"), Lies::image)};
  const Attributes attributes{{"kernel_shape", Sizes{weight[1], weight[2]}},
                              {"strides", sizes_of(call.by_axis("stride"))},
                              {"pads", sizes_of(call.by_side("pad"))},
                              {"dilations", sizes_of(call.by_axis("dilation"))},
                              {"group", call.whole("groups")}};
  if (const GraphNode* norm = out.folded_norm(call.node))
    return write_folded(out, call, *norm, inputs, attributes);
  inputs.push_back(out.parameter(call.input("weight")));
  if (call.has("bias")) inputs.push_back(out.parameter(call.input("bias")));
  out.put(call.node, out.add(call.node, "Conv", inputs, attributes), Lies::image);
}

/// Features by channel where memory has them by pixel: PyTorch's order, of a flattened weight's columns too.
Tensor columns_by_pixel(const Tensor& weight, int64_t pixels) {
  Tensor made = Tensor::empty(weight.shape());
  const int64_t columns = weight.shape()[1], channels = columns / pixels;
  for (int64_t o = 0; o < weight.shape()[0]; ++o)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t p = 0; p < pixels; ++p)
        made.f32()[o * columns + p * channels + c] = weight.f32()[o * columns + c * pixels + p];
  return made;
}

Tensor turned(const Tensor& matrix) {
  const int64_t rows = matrix.shape()[0], columns = matrix.shape()[1];
  Tensor made = Tensor::empty({columns, rows});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) made.f32()[c * rows + r] = matrix.f32()[r * columns + c];
  return made;
}

void linear(OnnxExporter& out, const OpCall& call) {
  const int x = call.input("x"), w = call.input("weight");
  if (call.shape("x").axes() == 2) {
    const FileLayout layout = file_layout(out.graph, w);
    const bool is_flattened = layout.kind == FileLayout::flattened,
               by_channel = out.lies(x) == Lies::channels_first;
    OnnxExporter::Inputs inputs{
        out.value(x, is_flattened && by_channel ? Lies::channels_first : Lies::as_here)};
    inputs.push_back(is_flattened && !by_channel
                         ? out.parameter_as(w, "by_pixel", columns_by_pixel(out.tensor(w), layout.positions))
                         : out.parameter(w));
    if (call.has("bias")) inputs.push_back(out.parameter(call.input("bias")));
    out.put(call.node, out.add(call.node, "Gemm", inputs, {{"transB", int64_t{1}}}), Lies::as_here);
    return;
  }
  std::string y =
      out.add(call.node, "MatMul",
              {out.value(x, Lies::as_here), out.parameter_as(w, "turned", turned(out.tensor(w)))});
  if (call.has("bias")) y = out.add(call.node, "Add", {y, out.parameter(call.input("bias"))});
  out.put(call.node, y, Lies::as_here);
}

void batch_norm(OnnxExporter& out, const OpCall& call) {
  const int x = call.input("x");
  const Lies lies = is_image(call.shape("x")) ? Lies::image : Lies::as_here;
  std::string y = out.value(x, lies);
  const GraphNode* maker = out.graph.maker_of(x);
  if (!maker || out.folded_norm(*maker) != &call.node) {
    OnnxExporter::Inputs inputs{y};
    for (const char* name : {"weight", "bias", "running_mean", "running_var"})
      inputs.push_back(out.parameter(call.input(name)));
    y = out.add(call.node, "BatchNormalization", inputs,
                {{"epsilon", call.real("eps")}, {"momentum", 1.0f - call.real("momentum")}});
  }
  if (call.has("residual")) y = out.add(call.node, "Add", {y, out.value(call.input("residual"), lies)});
  out.put(call.node, y, lies);
}

void layer_norm(OnnxExporter& out, const OpCall& call) {
  ESP_CHECK(out.options.opset >= 17, "onnx: layer_norm needs opset 17, found ", out.options.opset);
  out.put(call.node,
          out.add(call.node, "LayerNormalization",
                  {out.value(call.input("x"), Lies::as_here), out.parameter(call.input("weight")),
                   out.parameter(call.input("bias"))},
                  {{"axis", int64_t{-1}}, {"epsilon", call.real("eps")}}),
          Lies::as_here);
}

// --- numbers by themselves: how they lie does not matter

std::string write_activation(OnnxExporter& out, const GraphNode& node, const std::string& x, Activation f) {
  const auto add = [&](const char* op, const OnnxExporter::Inputs& inputs,
                       const Attributes& attributes = {}) { return out.add(node, op, inputs, attributes); };
  constexpr float sixth = 1.0f / 6.0f;
  switch (f) {
    case Activation::relu:
      return add("Relu", {x});
    case Activation::relu6:
      return add("Clip", {x, out.number("min", 0.0f), out.number("max", 6.0f)});
    case Activation::sigmoid:
      return add("Sigmoid", {x});
    case Activation::tanh:
      return add("Tanh", {x});
    case Activation::silu:
      return add("Mul", {x, add("Sigmoid", {x})});
    case Activation::leaky_relu:
      return add("LeakyRelu", {x}, {{"alpha", leaky_slope}});
    case Activation::hard_sigmoid:
      return add("HardSigmoid", {x}, {{"alpha", sixth}, {"beta", 0.5f}});
    case Activation::hard_swish:
      if (out.options.opset >= 14) return add("HardSwish", {x});
      return add("Mul", {x, add("HardSigmoid", {x}, {{"alpha", sixth}, {"beta", 0.5f}})});
    case Activation::gelu: {
      if (out.options.opset >= 20) return add("Gelu", {x});
      const std::string erf = add("Erf", {add("Div", {x, out.number("sqrt2", std::sqrt(2.0f))})});
      const std::string product = add("Mul", {x, add("Add", {erf, out.number("one", 1.0f)})});
      return add("Mul", {product, out.number("half", 0.5f)});
    }
    case Activation::none:
      break;
  }
  return x;
}

void activation(OnnxExporter& out, const OpCall& call) {
  const Lies lies = out.lies(call.input("x"));
  out.put(call.node, write_activation(out, call.node, out.value(call.input("x"), lies), call.activation()),
          lies);
}

void clip(OnnxExporter& out, const OpCall& call) {
  const Lies lies = out.lies(call.input("x"));
  const auto bound = [&](const char* name) {
    const float value = call.real(name);
    return std::abs(value) >= std::numeric_limits<float>::max() ? std::string() : out.number(name, value);
  };
  OnnxExporter::Inputs inputs{out.value(call.input("x"), lies), bound("min"), bound("max")};
  while (inputs.back().empty()) inputs.pop_back();
  out.put(call.node, out.add(call.node, "Clip", inputs), lies);
}

void dropout(OnnxExporter& out, const OpCall& call) {
  const Lies lies = out.lies(call.input("x"));
  out.put(
      call.node,
      out.add(call.node, "Dropout", {out.value(call.input("x"), lies), out.number("ratio", call.real("p"))}),
      lies);
}

void scale(OnnxExporter& out, const OpCall& call) {
  const Lies lies = out.lies(call.input("x"));
  out.put(call.node,
          out.add(call.node, "Mul",
                  {out.value(call.input("x"), lies), out.number("factor", call.real("factor"))}),
          lies);
}

/// add, mul: b of a's shape, or one number for each channel of an image, or of all.
void by_two(OnnxExporter& out, const OpCall& call, const char* op) {
  const int a = call.input("a"), b = call.input("b");
  const Shape &of_a = call.shape("a"), &of_b = call.shape("b");
  Lies lies = out.lies(a);
  std::string second;
  if (out.graph.is_parameter(b) && of_b.axes() == 1) {  // the channels' axis is the last but in images
    if (lies == Lies::channels_first) lies = Lies::as_here;
    const bool beside_pixels = lies == Lies::image;
    second = beside_pixels ? out.parameter_as(b, "of_images", out.tensor(b).reshape({of_b[0], 1, 1}))
                           : out.parameter(b);
  } else if (of_a == of_b) {
    if (lies == Lies::channels_first && out.lies(b) != lies) lies = Lies::as_here;
    second = out.value(b, lies);
  } else {
    lies = Lies::image;
    second = of_b.axes() == 2
                 ? out.add(call.node, "Unsqueeze", {out.value(b, Lies::as_here), out.sizes("axes", {2, 3})})
                 : out.value(b, Lies::image);
  }
  out.put(call.node, out.add(call.node, op, {out.value(a, lies), second}), lies);
}

void add(OnnxExporter& out, const OpCall& call) { by_two(out, call, "Add"); }
void mul(OnnxExporter& out, const OpCall& call) { by_two(out, call, "Mul"); }

void softmax(OnnxExporter& out, const OpCall& call) {
  out.put(call.node,
          out.add(call.node, "Softmax", {out.value(call.input("x"), Lies::as_here)}, {{"axis", int64_t{-1}}}),
          Lies::as_here);
}

// --- pooling

Attributes of_windows(const OpCall& call) {
  const ByAxis window = call.by_axis("window"), stride = call.by_axis("stride");
  return {{"kernel_shape", sizes_of(window)},
          {"strides", sizes_of(stride == 0 ? window : stride)},
          {"pads", sizes_of(call.by_side("pad"))},
          {"ceil_mode", call.whole("ceil_mode")}};
}

void max_pool2d(OnnxExporter& out, const OpCall& call) {
  out.put(call.node,
          out.add(call.node, "MaxPool", {out.value(call.input("x"), Lies::image)}, of_windows(call)),
          Lies::image);
}

void average_pool2d(OnnxExporter& out, const OpCall& call) {
  Attributes attributes = of_windows(call);
  attributes.emplace_back("count_include_pad", call.whole("count_include_pad"));
  out.put(call.node, out.add(call.node, "AveragePool", {out.value(call.input("x"), Lies::image)}, attributes),
          Lies::image);
}

void global_average_pool(OnnxExporter& out, const OpCall& call) {
  const std::string mean = out.add(call.node, "GlobalAveragePool", {out.value(call.input("x"), Lies::image)});
  out.put(call.node, out.add(call.node, "Flatten", {mean}), Lies::as_here);
}

void adaptive_average_pool2d(OnnxExporter& out, const OpCall& call) {
  const std::string x = out.value(call.input("x"), Lies::image);
  const Shape& s = call.shape("x");
  const int64_t h = call.whole("height"), w = call.whole("width");
  if (h == 1 && w == 1) return out.put(call.node, out.add(call.node, "GlobalAveragePool", {x}), Lies::image);
  const Sizes window{s[1] / h, s[2] / w};
  out.put(call.node, out.add(call.node, "AveragePool", {x}, {{"kernel_shape", window}, {"strides", window}}),
          Lies::image);
}

// --- shapes

void flatten(OnnxExporter& out, const OpCall& call) {
  const Shape& s = call.shape("x");
  const bool same = s[3] == 1 || s[1] * s[2] == 1;  // in either order
  out.put(call.node, out.add(call.node, "Flatten", {out.value(call.input("x"), Lies::image)}),
          same ? Lies::as_here : Lies::channels_first);
}

void concat(OnnxExporter& out, const OpCall& call) {
  const Shape& s = call.output();
  const int64_t axis = call.whole("axis"), at = axis < 0 ? axis + s.axes() : axis;
  const bool as_images = is_image(s) && out.lies(call.node.inputs[0]) == Lies::image;
  OnnxExporter::Inputs parts;
  for (const int part : call.node.inputs)
    parts.push_back(out.value(part, as_images ? Lies::image : Lies::as_here));
  const Sizes axes_of_images{0, 2, 3, 1};
  out.put(call.node,
          out.add(call.node, "Concat", parts,
                  {{"axis", as_images ? axes_of_images[static_cast<size_t>(at)] : at}}),
          as_images ? Lies::image : Lies::as_here);
}

void slice(OnnxExporter& out, const OpCall& call) {
  const int x = call.input("x");
  const Lies lies = out.lies(x) == Lies::image ? Lies::image : Lies::as_here;
  const int64_t first = call.whole("first"), axis = lies == Lies::image ? 1 : call.shape("x").axes() - 1;
  out.put(call.node,
          out.add(call.node, "Slice",
                  {out.value(x, lies), out.sizes("starts", {first}),
                   out.sizes("ends", {first + call.whole("channels")}), out.sizes("axes", {axis})}),
          lies);
}

void reshape(OnnxExporter& out, const OpCall& call) {
  Sizes sizes{0};  // as many images as there are
  for (const int64_t size : call.attribute<Sizes>("sizes")) sizes.push_back(size);
  out.put(
      call.node,
      out.add(call.node, "Reshape", {out.value(call.input("x"), Lies::as_here), out.sizes("sizes", sizes)}),
      Lies::as_here);
}

void select(OnnxExporter& out, const OpCall& call) {
  const std::string x = out.value(call.input("x"), Lies::as_here);
  const std::string place =
      out.add(call.node, "Squeeze", {out.sizes("place", {call.whole("index")}), out.sizes("axes", {0})});
  out.put(call.node, out.add(call.node, "Gather", {x, place}, {{"axis", call.whole("axis")}}), Lies::as_here);
}

void permute(OnnxExporter& out, const OpCall& call) {
  out.put(call.node,
          out.add(call.node, "Transpose", {out.value(call.input("x"), Lies::as_here)},
                  {{"perm", call.attribute<Sizes>("axes")}}),
          Lies::as_here);
}

void pad(OnnxExporter& out, const OpCall& call) {
  const auto& s = call.attribute<Sizes>("sides");
  out.put(call.node,
          out.add(call.node, "Pad",
                  {out.value(call.input("x"), Lies::image),
                   out.sizes("pads", {0, 0, s[0], s[1], 0, 0, s[2], s[3]}),
                   out.number("value", call.real("value"))}),
          Lies::image);
}

/// As many as there are images, by their Shape.
void expand(OnnxExporter& out, const OpCall& call) {
  const int one = call.node.inputs[1];
  const std::string shape =
      out.add(call.node, "Shape", {out.value(call.input("x"), out.lies(call.input("x")))});
  const std::string images =
      out.add(call.node, "Slice", {shape, out.sizes("starts", {0}), out.sizes("ends", {1})});
  const auto rest = out.graph.shape(one).sizes();
  const std::string to =
      out.add(call.node, "Concat", {images, out.sizes("sizes", {rest.begin() + 1, rest.end()})},
              {{"axis", int64_t{0}}});
  out.put(call.node, out.add(call.node, "Expand", {out.parameter(one), to}), Lies::as_here);
}

void matmul(OnnxExporter& out, const OpCall& call) {
  const auto factor = [&](const char* name, const char* transposed) {
    const std::string x = out.value(call.input(name), Lies::as_here);
    if (call.whole(transposed) == 0) return x;
    Sizes axes(static_cast<size_t>(call.shape(name).axes()));
    for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
    std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
    return out.add(call.node, "Transpose", {x}, {{"perm", axes}});
  };
  out.put(call.node, out.add(call.node, "MatMul", {factor("a", "a_transposed"), factor("b", "b_transposed")}),
          Lies::as_here);
}

const std::map<std::string, OnnxWriter>& writers() {
  static const std::map<std::string, OnnxWriter> all = {{"activation", activation},
                                                        {"adaptive_average_pool2d", adaptive_average_pool2d},
                                                        {"add", add},
                                                        {"average_pool2d", average_pool2d},
                                                        {"batch_norm", batch_norm},
                                                        {"clip", clip},
                                                        {"concat", concat},
                                                        {"conv2d", conv2d},
                                                        {"dropout", dropout},
                                                        {"expand", expand},
                                                        {"flatten", flatten},
                                                        {"global_average_pool", global_average_pool},
                                                        {"layer_norm", layer_norm},
                                                        {"linear", linear},
                                                        {"matmul", matmul},
                                                        {"max_pool2d", max_pool2d},
                                                        {"mul", mul},
                                                        {"pad", pad},
                                                        {"permute", permute},
                                                        {"reshape", reshape},
                                                        {"scale", scale},
                                                        {"select", select},
                                                        {"slice", slice},
                                                        {"softmax", softmax}};
  return all;
}

}  // namespace

OnnxWriter onnx_writer(const std::string& op) {
  const auto found = writers().find(op);
  return found == writers().end() ? nullptr : found->second;
}

std::vector<std::string> exported_ops() {
  std::vector<std::string> names;
  for (const auto& [name, writer] : writers()) names.push_back(name);
  return names;
}

}  // namespace espalier

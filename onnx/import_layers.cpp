// What ONNX ops with weights are here: onnx.ai/onnx/operators has their definitions.
#include <cmath>
#include <utility>

#include "espalier/onnx/fold.h"
#include "espalier/onnx/import_ops.h"
#include "espalier/onnx/patterns.h"
#include "espalier/onnx/windows.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {

void conv(OnnxImporter& in, const OnnxNode& node) {
  const Variable x = in.image(node, 0);
  const OnnxConstant& weight = in.needed_constant(node, 1, "weight");
  const auto& d = weight.dims;
  ESP_CHECK(d.size() == 4, "its weight has ", d.size(), " axes, expected [O,I,Kh,Kw]");
  const OnnxWindows windows = onnx_windows(node, {d[2], d[3]}, x.shape());
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

}  // namespace

OnnxHandlers onnx_layers() {
  return {{"BatchNormalization", batch_norm}, {"Conv", conv},     {"Gemm", gemm},
          {"LayerNormalization", layer_norm}, {"MatMul", matmul}, {matmul_with_bias, matmul}};
}

}  // namespace espalier

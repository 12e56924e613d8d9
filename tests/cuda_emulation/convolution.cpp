#include "espalier/cuda_emulation/convolution.h"

#include <fmt/format.h>

#include <array>

#include "espalier/cuda_emulation/library_call.h"

namespace espalier::emulation {

namespace {

/// What the operation of a direction calls its parts.
struct Names {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t image, weights, output, convolution, alpha, beta;
};
constexpr std::array<Names, 3> directions = {{
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
}};

/// A tensor's [n,c,h,w], which lies with channels innermost and without gaps.
struct ImageTensor {
  int64_t id, n, c, h, w;
  bool bf16, between;
};
std::string understand(ImageTensor& tensor, const Node* node) {
  if (node == nullptr) return "an operation lacks a tensor";
  const auto d = node->all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS),
             strides = node->all<int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
  if (d.size() != 4 || strides.size() != 4) return "only tensors of four axes are emulated";
  tensor = {node->one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID, -1),
            d[0],
            d[1],
            d[2],
            d[3],
            node->one(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_DATA_FLOAT) == CUDNN_DATA_BFLOAT16,
            node->one(CUDNN_ATTR_TENSOR_IS_VIRTUAL, char{0}) != 0};
  const std::array<int64_t, 4> dense = {d[1] * d[2] * d[3], 1, d[1] * d[3], d[1]};
  for (size_t axis = 0; axis < 4; ++axis)
    if (d[axis] > 1 && strides[axis] != dense[axis])
      return "only dense tensors with channels innermost are emulated";
  if (!tensor.bf16 && node->one(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_DATA_FLOAT) != CUDNN_DATA_FLOAT)
    return "only f32 and bf16 tensors are emulated";
  if (tensor.bf16 && tensor.between) return "only f32 between operations is emulated";
  return {};
}

constexpr const char* mixed = "f32 and bf16 in one convolution are not emulated";

/// An attribute's number for each axis.
std::string by_axis(ByAxis& value, const Node& node, cudnnBackendAttributeName_t name) {
  const auto two = node.all<int64_t>(name);
  if (two.size() != 2) return "only convolutions of two axes are emulated";
  value = {two[0], two[1]};
  return {};
}

/// An operation after a convolution, which takes what was its output so far.
std::string understand_behind(Convolution& convolution, const Node& operation) {
  if (operation.type != CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR ||
      convolution.direction != Convolution::forward || convolution.relu)
    return "only additions and relu after a forward convolution are emulated";
  ImageTensor x, y;
  for (std::string why : {understand(x, operation.node(CUDNN_ATTR_OPERATION_POINTWISE_XDESC)),
                          understand(y, operation.node(CUDNN_ATTR_OPERATION_POINTWISE_YDESC))})
    if (!why.empty()) return why;
  if (x.id != convolution.output) return "an operation does not take the output of the one before it";
  const ConvShape& s = convolution.shape;
  const auto like_output = [&](const ImageTensor& t) {
    return t.n == s.n && t.c == s.o && t.h == s.out_h() && t.w == s.out_w();
  };
  if (!y.between && y.bf16 != convolution.bf16) return mixed;
  if (!like_output(y)) return "an operation after a convolution has an output of another shape";
  convolution.output = y.id;

  const Node* const how = operation.node(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
  const auto mode =
      how ? how->one(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_IDENTITY) : CUDNN_POINTWISE_IDENTITY;
  if (mode == CUDNN_POINTWISE_RELU_FWD) {
    convolution.relu = true;
    return {};
  }
  if (mode != CUDNN_POINTWISE_ADD) return "only additions and relu after a convolution are emulated";
  ImageTensor other;
  if (std::string why = understand(other, operation.node(CUDNN_ATTR_OPERATION_POINTWISE_BDESC)); !why.empty())
    return why;
  if (other.bf16 != convolution.bf16) return mixed;
  if (like_output(other) && convolution.residual < 0)
    convolution.residual = other.id;
  else if (other.n == 1 && other.c == s.o && other.h == 1 && other.w == 1 && convolution.bias < 0)
    convolution.bias = other.id;
  else
    return "only one residual and one bias are emulated";
  return {};
}

void with_scratch(size_t bytes, const auto& call) {
  std::vector<char> scratch(bytes);
  call(scratch.data());
}

}  // namespace

std::string understand(Convolution& convolution, const Node& graph) {
  const auto operations = graph.nodes.find(CUDNN_ATTR_OPERATIONGRAPH_OPS);
  if (operations == graph.nodes.end() || operations->second.empty()) return "a graph has no operation";
  const Node& operation = *operations->second.front();
  size_t direction = 0;
  while (direction < directions.size() && directions[direction].operation != operation.type) ++direction;
  if (direction == directions.size())
    return fmt::format("operation type {} is not emulated", static_cast<int>(operation.type));
  const Names& names = directions[direction];

  ImageTensor image, weights, output;
  for (std::string why :
       {understand(image, operation.node(names.image)), understand(weights, operation.node(names.weights)),
        understand(output, operation.node(names.output))})
    if (!why.empty()) return why;
  const Node* const how = operation.node(names.convolution);
  if (how == nullptr) return "an operation lacks its convolution";
  ByAxis stride = 0, pad = 0, pad_behind = 0, dilation = 0;
  for (std::string why : {by_axis(stride, *how, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES),
                          by_axis(pad, *how, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS),
                          by_axis(pad_behind, *how, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS),
                          by_axis(dilation, *how, CUDNN_ATTR_CONVOLUTION_DILATIONS)})
    if (!why.empty()) return why;
  if (how->one(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CONVOLUTION) != CUDNN_CROSS_CORRELATION)
    return "only cross-correlation is emulated";

  convolution.direction = static_cast<Convolution::Direction>(direction);
  convolution.shape = {.n = image.n,
                       .h = image.h,
                       .w = image.w,
                       .c = image.c,
                       .o = weights.n,
                       .kh = weights.h,
                       .kw = weights.w,
                       .stride = stride,
                       .pad = {pad.down, pad.across, pad_behind.down, pad_behind.across},
                       .groups = image.c / weights.c,
                       .dilation = dilation};
  const ConvShape& s = convolution.shape;
  if (output.n != s.n || output.c != s.o || output.h != s.out_h() || output.w != s.out_w() ||
      weights.c * s.groups != s.c)
    return fmt::format("an output of {}x{}x{}x{} does not fit the convolution", output.n, output.h, output.w,
                       output.c);
  convolution.bf16 = image.bf16;
  if (weights.bf16 != image.bf16 || (!output.between && output.bf16 != image.bf16)) return mixed;
  convolution.image = image.id;
  convolution.weights = weights.id;
  convolution.output = output.id;
  const double alpha = operation.one(names.alpha, 1.0), beta = operation.one(names.beta, 0.0);
  convolution.accumulate = beta == 1;
  if (alpha != 1 || (beta != 0 && !(convolution.accumulate && convolution.direction != Convolution::forward)))
    return "such factors alpha and beta are not emulated";
  for (size_t i = 1; i < operations->second.size(); ++i)
    if (const std::string why = understand_behind(convolution, *operations->second[i]); !why.empty())
      return why;
  return {};
}

void compute(const Convolution& convolution, const ConvolutionPointers& at, bool tf32) {
  const ConvShape& s = convolution.shape;
  const int64_t outputs = s.n * s.out_h() * s.out_w() * s.o;
  const auto changed = [&](Convolution::Direction by) { return convolution.direction == by; };
  AsFloats of_image(at.image, s.n * s.h * s.w * s.c, convolution.bf16, changed(Convolution::backward_data)),
      of_weights(at.weights, s.o * s.kh * s.kw * (s.c / s.groups), convolution.bf16,
                 changed(Convolution::backward_weights)),
      of_output(at.output, outputs, convolution.bf16, changed(Convolution::forward)),
      of_bias(at.bias, s.o, convolution.bf16, false),
      of_residual(at.residual, outputs, convolution.bf16, false);
  float *image = of_image.data(), *weights = of_weights.data(), *output = of_output.data();
  std::vector<float> rounded_image, rounded_weights, rounded_output;
  const auto round = [&](std::vector<float>& into, float*& x, int64_t n) {
    if (!tf32 || convolution.bf16) return;
    into = round_to_tf32(x, static_cast<size_t>(n));
    x = into.data();
  };
  if (convolution.direction != Convolution::backward_data) round(rounded_image, image, s.n * s.h * s.w * s.c);
  if (convolution.direction != Convolution::backward_weights)
    round(rounded_weights, weights, s.o * s.kh * s.kw * (s.c / s.groups));
  if (convolution.direction != Convolution::forward)
    round(rounded_output, output, s.n * s.out_h() * s.out_w() * s.o);
  const bool accumulate = convolution.accumulate;
  const ConvEpilogue epilogue{.shift = of_bias.data(),
                              .residual = of_residual.data(),
                              .f = convolution.relu ? Activation::relu : Activation::none};
  switch (convolution.direction) {
    case Convolution::forward:
      with_scratch(cpu::conv2d_forward_scratch(s, epilogue), [&](void* scratch) {
        cpu::conv2d_forward(output, image, weights, nullptr, epilogue, s, scratch);
      });
      break;
    case Convolution::backward_data:
      with_scratch(cpu::conv2d_backward_data_scratch(s, accumulate), [&](void* scratch) {
        cpu::conv2d_backward_data(image, output, weights, s, accumulate, scratch);
      });
      break;
    case Convolution::backward_weights:
      with_scratch(cpu::conv2d_backward_weights_scratch(s, accumulate), [&](void* scratch) {
        cpu::conv2d_backward_weights(weights, output, image, s, accumulate, scratch);
      });
      break;
  }
}

}  // namespace espalier::emulation

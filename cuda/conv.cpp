// Convolutions by cuDNN. What is behind one (scale, bias, residual, activation, statistics) is one pass of
// our own (norm.h): cuDNN's engines for f32 fuse some of it and never the statistics, which training wants.
#include "espalier/cuda/conv.h"

#include <algorithm>

#include "espalier/core/error.h"
#include "espalier/core/plan_cache.h"
#include "espalier/cuda/norm.h"

namespace espalier::cuda {
namespace {

enum Id : int64_t { image, weights, output };  // x or dx, w or dw, y or dy

/// What one direction's operation calls its parts.
struct Names {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t alpha, beta, convolution, image, weights, output;
  const char* text;
};
const Names& names(Direction direction) {
  static const Names all[] = {
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, "forward"},
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
       "backward data"},
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
       "backward weights"}};
  return all[static_cast<size_t>(direction)];
}

GraphPlan make(const ConvShape& s, Direction direction, bool accumulate) {
  const Descriptor x = image_tensor(image, s.n, s.c, s.h, s.w);
  const Descriptor w = image_tensor(weights, s.o, s.c / s.groups, s.kh, s.kw);  // OHWI, as images lie
  const Descriptor y = image_tensor(output, s.n, s.o, s.out_h(), s.out_w());

  Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode)
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2})
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, {s.pad, s.pad})
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, {s.pad, s.pad})
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, {s.stride, s.stride})
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, {1, 1})
      .finalize("a convolution's description");

  const Names& called = names(direction);
  Descriptor operation(called.operation);
  operation.set(called.image, x)
      .set(called.weights, w)
      .set(called.output, y)
      .set(called.convolution, convolution)
      .set(called.alpha, 1.0)
      .set(called.beta, accumulate ? 1.0 : 0.0)
      .finalize("a convolution");
  return {{&operation},
          precision(),
          join("a convolution (", called.text, ") of ", s.n, "x", s.h, "x", s.w, "x", s.c, " by ", s.o, "x",
               s.kh, "x", s.kw, "x", s.c / s.groups, ", stride ", s.stride, ", padding ", s.pad)};
}

int64_t output_pixels(const ConvShape& s) { return s.n * s.out_h() * s.out_w(); }

bool changes(const ConvEpilogue& e) {
  return e.scale || e.shift || e.residual || e.f != Activation::none || e.statistics.mean;
}

}  // namespace

const GraphPlan& conv2d_plan(const ConvShape& s, Direction direction, bool accumulate) {
  // Never destroyed: cuDNN may be gone before the last plan.
  static auto& cache = *new PlanCache<GraphPlan, 14>;
  return cache.get({s.n, s.h, s.w, s.c, s.o, s.kh, s.kw, s.stride, s.pad, s.groups, int64_t{accumulate},
                    static_cast<int64_t>(direction), static_cast<int64_t>(precision()), described_card()},
                   [&] { return make(s, direction, accumulate); });
}

size_t conv2d_prepared_bytes(const ConvShape&) { return 0; }
void conv2d_prepare(void*, const float*, const ConvShape&) {}

size_t conv2d_forward_scratch(const ConvShape& s, const ConvEpilogue& e) {
  const size_t bytes = conv2d_plan(s, Direction::forward, false).scratch_bytes();
  return changes(e) ? std::max(bytes, convolution_epilogue_scratch(e, output_pixels(s), s.o)) : bytes;
}
void conv2d_forward(float* y, const float* x, const float* w, const void*, const ConvEpilogue& e,
                    const ConvShape& s, void* scratch) {
  conv2d_plan(s, Direction::forward, false).run({{image, x}, {weights, w}, {output, y}}, scratch);
  if (changes(e)) convolution_epilogue(y, e, output_pixels(s), s.o, scratch);
}

size_t conv2d_backward_data_scratch(const ConvShape& s, bool accumulate) {
  return conv2d_plan(s, Direction::backward_data, accumulate).scratch_bytes();
}
void conv2d_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                          void* scratch) {
  conv2d_plan(s, Direction::backward_data, accumulate)
      .run({{image, dx}, {weights, w}, {output, dy}}, scratch);
}

size_t conv2d_backward_weights_scratch(const ConvShape& s, bool accumulate) {
  return conv2d_plan(s, Direction::backward_weights, accumulate).scratch_bytes();
}
void conv2d_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate,
                             void* scratch) {
  conv2d_plan(s, Direction::backward_weights, accumulate)
      .run({{image, x}, {weights, dw}, {output, dy}}, scratch);
}

}  // namespace espalier::cuda

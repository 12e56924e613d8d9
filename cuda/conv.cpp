// Convolutions by cuDNN. A bias, a residual and relu are fused into the graph, as its engines take them; what
// else follows a convolution (a scale, other activations, statistics) is one pass of our own (norm.h).
//
// Of cuDNN 9.19's repeatable engines for bf16 none takes a bias or writes a gradient of weights that is f32,
// as ours are: the bias is rounded, and the gradient comes as bf16 and is widened. Channels of any number
// have an engine: where tensor cores want multiples of 8, cuDNN pads them in its scratch memory.
#include "espalier/cuda/conv.h"

#include <algorithm>
#include <deque>

#include "espalier/core/plan_cache.h"
#include "espalier/cuda/norm.h"
#include "espalier/cuda/runtime.h"
#include "espalier/util/error.h"

namespace espalier::cuda {
namespace {

// x or dx, w or dw, y or dy; from `between` on what no pointer belongs to
enum Id : int64_t { image, weights, output, bias, residual, between };

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

/// The operations of a graph, and what they refer to.
class ConvGraph {
 public:
  ConvGraph(const ConvShape& s, Direction direction, bool accumulate, const Fused& fused) : s_(s) {
    const Names& called = names(direction);
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
        .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode)
        .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2})
        .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, {s.pad.top, s.pad.left})
        .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, {s.pad.bottom, s.pad.right})
        .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, {s.stride.down, s.stride.across})
        .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, {s.dilation.down, s.dilation.across})
        .finalize("a convolution's description");

    to_come_ = int{fused.residual} + int{fused.bias} + int{fused.relu};
    const Descriptor* y = &result();
    Descriptor& operation = keep(Descriptor(called.operation));
    operation.set(called.image, keep(image_tensor(image, s.n, s.c, s.h, s.w, s.dtype)))
        .set(called.weights, keep(image_tensor(weights, s.o, s.c / s.groups, s.kh, s.kw, s.dtype)))  // OHWI
        .set(called.output, *y)
        .set(called.convolution, keep(std::move(convolution)))
        .set(called.alpha, 1.0)
        .set(called.beta, accumulate ? 1.0 : 0.0)
        .finalize("a convolution");
    operations_.push_back(&operation);
    // In this order, the one that they take.
    if (fused.residual)
      y = &then(CUDNN_POINTWISE_ADD, *y,
                &keep(image_tensor(residual, s.n, s.o, s.out_h(), s.out_w(), s.dtype)));
    if (fused.bias) y = &then(CUDNN_POINTWISE_ADD, *y, &keep(image_tensor(bias, 1, s.o, 1, 1, s.dtype)));
    if (fused.relu) then(CUDNN_POINTWISE_RELU_FWD, *y, nullptr);
  }

  const std::vector<const Descriptor*>& operations() const { return operations_; }

 private:
  Descriptor& keep(Descriptor descriptor) { return kept_.emplace_back(std::move(descriptor)); }
  /// Of the next operation: the output itself if it is the last one.
  const Descriptor& result() {
    const bool last = to_come_-- == 0;
    return keep(image_tensor(last ? output : between + to_come_, s_.n, s_.o, s_.out_h(), s_.out_w(),
                             last ? s_.dtype : DType::f32, !last));
  }
  const Descriptor& then(cudnnPointwiseMode_t mode, const Descriptor& x, const Descriptor* other) {
    Descriptor& what = keep(Descriptor(CUDNN_BACKEND_POINTWISE_DESCRIPTOR));
    what.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode)
        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    if (mode == CUDNN_POINTWISE_RELU_FWD) {  // a NaN is to be seen
      const cudnnNanPropagation_t nan = CUDNN_PROPAGATE_NAN;
      what.set(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_TYPE_NAN_PROPOGATION, 1, &nan);
    }
    what.finalize("what follows a convolution");
    const Descriptor& y = result();
    Descriptor& operation = keep(Descriptor(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR));
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, what)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    if (other) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *other);
    operation.finalize("what follows a convolution");
    operations_.push_back(&operation);
    return y;
  }

  const ConvShape& s_;
  int to_come_ = 0;              // operations after the present one
  std::deque<Descriptor> kept_;  // which stay where they are
  std::vector<const Descriptor*> operations_;
};

bool any(const Fused& fused) { return fused.bias || fused.residual || fused.relu; }

/// How exact an engine has to be.
Precision precision_of(const ConvShape& s) { return s.dtype == DType::bf16 ? Precision::bf16 : precision(); }

ConvPlan make(const ConvShape& s, Direction direction, bool accumulate, const Fused& wanted) {
  if (any(wanted))
    if (auto graph =
            GraphPlan::find(ConvGraph(s, direction, accumulate, wanted).operations(), precision_of(s)))
      return {std::move(*graph), true};
  auto graph = GraphPlan::find(ConvGraph(s, direction, accumulate, {}).operations(), precision_of(s));
  ESP_CHECK(graph, "cuda: cuDNN has no ",
            s.dtype == DType::bf16          ? "bf16, "
            : precision() == Precision::f32 ? "exact, "
                                            : "",
            "repeatable engine for a convolution (", names(direction).text, ") of ", s.n, "x", s.h, "x", s.w,
            "x", s.c, " by ", s.o, "x", s.kh, "x", s.kw, "x", s.c / s.groups, ", stride ", s.stride,
            ", padding ", s.pad, ", dilation ", s.dilation);
  return {std::move(*graph), false};
}

/// What of an epilogue is fused: with a bias, for that is the pattern that engines know.
template <class Real>
Fused fusible(const ConvEpilogueOf<Real>& e) {
  const bool known = e.shift && !e.scale && (e.f == Activation::none || e.f == Activation::relu);
  return known ? Fused{true, e.residual != nullptr, e.f == Activation::relu} : Fused{};
}
template <class Real>
const ConvPlan& forward_plan(const ConvShape& s, const ConvEpilogueOf<Real>& e) {
  return conv2d_plan(s, Direction::forward, false, fusible(e));
}
/// What is left of it.
template <class Real>
ConvEpilogueOf<Real> behind(const ConvPlan& plan, const ConvEpilogueOf<Real>& e) {
  return plan.fused ? ConvEpilogueOf<Real>{.statistics = e.statistics} : e;
}
template <class Real>
bool changes(const ConvEpilogueOf<Real>& e) {
  return e.scale || e.shift || e.residual || e.f != Activation::none || e.statistics.mean;
}

int64_t output_pixels(const ConvShape& s) { return s.n * s.out_h() * s.out_w(); }

// Before a plan's own scratch memory, for bf16: the rounded bias, and the gradient of the weights.
size_t bias_bytes(const ConvShape& s) {
  return s.dtype == DType::bf16 ? aligned_bytes(static_cast<size_t>(s.o) * sizeof(bf16)) : 0;
}
int64_t weights_of(const ConvShape& s) { return s.o * s.kh * s.kw * (s.c / s.groups); }
size_t weights_bytes(const ConvShape& s) {
  return s.dtype == DType::bf16 ? aligned_bytes(static_cast<size_t>(weights_of(s)) * sizeof(bf16)) : 0;
}

template <class Real>
size_t forward_scratch(const ConvShape& s, const ConvEpilogueOf<Real>& e) {
  const ConvPlan& plan = forward_plan(s, e);
  const auto rest = behind(plan, e);
  const size_t bytes = plan.graph.scratch_bytes() + (plan.fused ? bias_bytes(s) : 0);
  if (!changes(rest)) return bytes;
  return std::max(bytes, convolution_epilogue_scratch(rest.statistics.mean, output_pixels(s), s.o));
}

template <class Real>
void forward(Real* y, const Real* x, const Real* w, const ConvEpilogueOf<Real>& e, const ConvShape& s,
             void* scratch) {
  const ConvPlan& plan = forward_plan(s, e);
  const auto rest = behind(plan, e);
  std::vector<std::pair<int64_t, const void*>> tensors{{image, x}, {weights, w}, {output, y}};
  void* work = scratch;
  if (plan.fused) {
    const void* shift = e.shift;
    if constexpr (std::is_same_v<Real, bf16>) {
      cast(static_cast<bf16*>(scratch), e.shift, s.o);
      shift = scratch;
      work = static_cast<char*>(scratch) + bias_bytes(s);
    }
    tensors.emplace_back(bias, shift);
    if (e.residual) tensors.emplace_back(residual, e.residual);
  }
  plan.graph.run(tensors, work);
  if (changes(rest)) convolution_epilogue(y, rest, output_pixels(s), s.o, scratch);
}

}  // namespace

const ConvPlan& conv2d_plan(const ConvShape& s, Direction direction, bool accumulate, const Fused& wanted) {
  // Never destroyed: cuDNN may be gone before the last plan.
  static auto& cache = *new PlanCache<ConvPlan, 21>;
  const int64_t flags = int64_t{accumulate} | wanted.bias << 1 | wanted.residual << 2 | wanted.relu << 3;
  return cache.get({s.n,
                    s.h,
                    s.w,
                    s.c,
                    s.o,
                    s.kh,
                    s.kw,
                    s.stride.down,
                    s.stride.across,
                    s.pad.top,
                    s.pad.left,
                    s.pad.bottom,
                    s.pad.right,
                    s.groups,
                    s.dilation.down,
                    s.dilation.across,
                    static_cast<int64_t>(s.dtype),
                    flags,
                    static_cast<int64_t>(direction),
                    static_cast<int64_t>(precision_of(s)),
                    described_card()},
                   [&] { return make(s, direction, accumulate, wanted); });
}

size_t conv2d_prepared_bytes(const ConvShape&) { return 0; }
void conv2d_prepare(void*, const float*, const ConvShape&) {}

size_t conv2d_backward_data_scratch(const ConvShape& s, bool accumulate) {
  return conv2d_plan(s, Direction::backward_data, accumulate).graph.scratch_bytes();
}
size_t conv2d_backward_weights_scratch(const ConvShape& s, bool accumulate) {
  const bool adds = accumulate && s.dtype == DType::f32;  // else the pass that widens it does
  return weights_bytes(s) + conv2d_plan(s, Direction::backward_weights, adds).graph.scratch_bytes();
}

size_t conv2d_forward_scratch(const ConvShape& s, const ConvEpilogueOf<float>& e) {
  return forward_scratch(s, e);
}
void conv2d_forward(float* y, const float* x, const float* w, const void*, const ConvEpilogueOf<float>& e,
                    const ConvShape& s, void* scratch) {
  forward(y, x, w, e, s, scratch);
}
void conv2d_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                          void* scratch) {
  conv2d_plan(s, Direction::backward_data, accumulate)
      .graph.run({{image, dx}, {weights, w}, {output, dy}}, scratch);
}
void conv2d_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate,
                             void* scratch) {
  conv2d_plan(s, Direction::backward_weights, accumulate)
      .graph.run({{image, x}, {weights, dw}, {output, dy}}, scratch);
}

size_t conv2d_forward_scratch(const ConvShape& s, const ConvEpilogueOf<bf16>& e) {
  return forward_scratch(s, e);
}
void conv2d_forward(bf16* y, const bf16* x, const bf16* w, const void*, const ConvEpilogueOf<bf16>& e,
                    const ConvShape& s, void* scratch) {
  forward(y, x, w, e, s, scratch);
}
void conv2d_backward_data(bf16* dx, const bf16* dy, const bf16* w, const ConvShape& s, bool accumulate,
                          void* scratch) {
  conv2d_plan(s, Direction::backward_data, accumulate)
      .graph.run({{image, dx}, {weights, w}, {output, dy}}, scratch);
}
void conv2d_backward_weights(float* dw, const bf16* dy, const bf16* x, const ConvShape& s, bool accumulate,
                             void* scratch) {
  auto* const rounded = static_cast<bf16*>(scratch);
  conv2d_plan(s, Direction::backward_weights, false)
      .graph.run({{image, x}, {weights, rounded}, {output, dy}},
                 static_cast<char*>(scratch) + weights_bytes(s));
  cast(dw, rounded, weights_of(s), accumulate);
}

}  // namespace espalier::cuda

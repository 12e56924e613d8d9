// The contract: every kernel once, for both devices. core/cpu fulfils it on the CPU, cuda/ on the GPU; a
// build that lacks one fails at link time. A kernel takes pointers and a shape, writes its outputs, allocates
// nothing and checks nothing. Scratch memory is an argument; X_scratch says how many bytes kernel X wants.
// Images are NHWC, convolution weights OHWI, linear weights [O,I]. `accumulate`: add into the output instead
// of overwriting it. Parameters, what is one number a channel, and losses are f32 always.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "espalier/core/bf16.h"
#include "espalier/core/tensor.h"
#include "espalier/core/window.h"

// core/without_cuda/kernels.h has macros of its own, which define what a build without cuda/ lacks.
#ifndef ESP_KERNEL
/// Declares one kernel in espalier::cpu and in espalier::cuda.
#define ESP_KERNEL(result, name, ...) \
  namespace cpu {                     \
  result name(__VA_ARGS__);           \
  }                                   \
  namespace cuda {                    \
  result name(__VA_ARGS__);           \
  }

/// The same for a kernel of activations or of their gradients. Its parameters name their type Real: float,
/// or, in espalier::cuda, bf16 as well.
#define ESP_KERNEL_REAL(result, name, ...)             \
  namespace detail {                                   \
  template <class Real>                                \
  struct name##_kernel {                               \
    using Type = result(__VA_ARGS__);                  \
  };                                                   \
  }                                                    \
  namespace cpu {                                      \
  ::espalier::detail::name##_kernel<float>::Type name; \
  }                                                    \
  namespace cuda {                                     \
  ::espalier::detail::name##_kernel<float>::Type name; \
  ::espalier::detail::name##_kernel<bf16>::Type name;  \
  }
#endif

/// Calls a kernel on a device: ESP_RUN(x.device(), add(y, a, b, n)). On Device::meta nothing is called, and
/// what would say a size says 0.
#define ESP_RUN(device, call)                                                 \
  ((device) == ::espalier::Device::meta   ? decltype(::espalier::cpu::call)() \
   : (device) == ::espalier::Device::cuda ? ::espalier::cuda::call            \
                                          : ::espalier::cpu::call)

/// Calls a kernel of activations where x is, in the type of its numbers, which `call` names Real:
/// ESP_RUN_REAL(x, add(y.data<Real>(), a.data<Real>(), b.data<Real>(), n)). bf16 on the CPU is an Error.
#define ESP_RUN_REAL(x, call)                                \
  ::espalier::with_real((x).dtype(), [&]<class Real>(Real) { \
    if constexpr (std::is_same_v<Real, float>)               \
      return ESP_RUN((x).device(), call);                    \
    else                                                     \
      return ESP_RUN_BF16((x).device(), call);               \
  })
#define ESP_RUN_BF16(device, call)                                             \
  ((device) == ::espalier::Device::meta   ? decltype(::espalier::cuda::call)() \
   : (device) == ::espalier::Device::cuda ? ::espalier::cuda::call             \
                                          : throw ::espalier::bf16_on_the_cpu())

namespace espalier {

Error bf16_on_the_cpu();

/// What body(Real()) returns, with the type of f32 or bf16 numbers. Error for others.
template <class Body>
auto with_real(DType dtype, const Body& body) {
  if (dtype == DType::bf16) return body(bf16());
  ESP_CHECK(dtype == DType::f32, "expected f32 or bf16, found ", dtype_name(dtype));
  return body(float());
}

enum class Activation : uint8_t {
  none,
  relu,
  gelu,
  sigmoid,
  tanh,
  relu6,
  silu,
  hard_swish,
  hard_sigmoid,
  leaky_relu
};
/// What leaky_relu makes of a negative number: this times it.
constexpr float leaky_slope = 0.01f;
/// True if f'(x) is no function of f(x), so that the way back needs x.
constexpr bool keeps_input(Activation f) {
  return f == Activation::gelu || f == Activation::silu || f == Activation::hard_swish;
}
/// True if activation_backward's formula holds of x in place of f(x) as well, or is of x anyway: what a norm
/// can end with, whose way back finds x again.
constexpr bool derives_from_input(Activation f) {
  return f != Activation::sigmoid && f != Activation::tanh && f != Activation::hard_sigmoid;
}

/// x [N,I], w [O,I], y [N,O], of x's type; parameters' gradients are f32
struct LinearShape {
  int64_t n, in, out;
  DType dtype = DType::f32;
  bool operator==(const LinearShape&) const = default;
};

/// a [batch,m,k], b [batch,k,n], y [batch,m,n], of one type; a or b may lie transposed in memory
struct MatmulShape {
  int64_t batch, m, n, k;
  bool a_transposed = false, b_transposed = false;
  DType dtype = DType::f32;
  bool operator==(const MatmulShape&) const = default;
};

/// x [N,H,W,C], w [O,Kh,Kw,C/groups], y [N,out_h,out_w,O], of x's type; parameters' gradients are f32
struct ConvShape {
  int64_t n, h, w, c, o, kh, kw;
  ByAxis stride = 1;
  Padding pad = 0;
  int64_t groups = 1;
  DType dtype = DType::f32;
  ByAxis dilation = 1;
  WindowAxis down() const { return {kh, stride.down, dilation.down, pad.top, pad.bottom}; }
  WindowAxis across() const { return {kw, stride.across, dilation.across, pad.left, pad.right}; }
  int64_t out_h() const { return down().out(h); }
  int64_t out_w() const { return across().out(w); }
  bool operator==(const ConvShape&) const = default;
};

/// x [N,H,W,C], y [N,out_h,out_w,C]
struct PoolShape {
  int64_t n, h, w, c;
  ByAxis k, stride;
  Padding pad = 0;
  bool ceil_mode = false;         ///< a last window may reach past the padding: WindowAxis::ceil
  bool count_include_pad = true;  ///< a mean is that of a window's padding, too; what is past it never counts
  WindowAxis down() const { return {k.down, stride.down, 1, pad.top, pad.bottom, ceil_mode}; }
  WindowAxis across() const { return {k.across, stride.across, 1, pad.left, pad.right, ceil_mode}; }
  int64_t out_h() const { return down().out(h); }
  int64_t out_w() const { return across().out(w); }
  /// Whether each mean is a sum / (k.down k.across).
  bool same_shares() const { return !ceil_mode && count_include_pad; }
  bool operator==(const PoolShape&) const = default;
};

/// Where the mean and the variance (of the population: divided by the count) of each channel go, both [C].
/// `center` [C] is any guess at the means (null: x's first row where x is at hand, else zeros): the
/// variance's relative error is at most 5e-6 (1 + (mean - center)^2 / variance). Where a mean is over 4
/// deviations away, a second pass goes about the means found; what x itself rounded, up to 3e-6 |mean| by
/// Winograd, is left.
struct ChannelStatistics {
  float* mean = nullptr;
  float* variance = nullptr;
  const float* center = nullptr;
};

/// What a convolution still does to its output y while it is in cache: y = f(y scale + shift + residual),
/// then statistics of y. Null: left out.
template <class Real>
struct ConvEpilogueOf {
  const float* scale = nullptr;    ///< [O]
  const float* shift = nullptr;    ///< [O]: the bias, or a batch norm folded in
  const Real* residual = nullptr;  ///< [N,out_h,out_w,O]
  Activation f = Activation::none;
  ChannelStatistics statistics = {};  ///< wanted if its mean is not null; f is none or relu then
};
using ConvEpilogue = ConvEpilogueOf<float>;

/// x [rows,C]: all pixels of all images
struct NormShape {
  int64_t rows, c;
  bool operator==(const NormShape&) const = default;
};

/// Running statistics [C] that a batch of `rows` moves: running = (1 - momentum) running + momentum (the
/// batch's mean; its variance divided by rows - 1). Null: none.
struct RunningStatistics {
  float *mean = nullptr, *variance = nullptr;
  float momentum = 0;
  int64_t rows = 0;
};

/// What batch_norm_backward reads.
template <class Real>
struct NormBackwardOf {
  const Real *dy, *x;                        ///< [rows,C]
  const float *scale, *shift, *mean, *rstd;  ///< [C]
  const Real* residual = nullptr;            ///< [rows,C], where f needs z and there was one
  const Real* y = nullptr;                   ///< [rows,C], in place of the residual where f needs no z
  Activation f = Activation::none;
  bool batch_statistics = true;  ///< mean and rstd are x's own: training
};
using NormBackward = NormBackwardOf<float>;

/// Where batch_norm_backward writes; null: not wanted. `add_` adds into what is there.
template <class Real>
struct NormGradientsOf {
  Real *dx = nullptr, *dresidual = nullptr;   ///< [rows,C]
  float *dgamma = nullptr, *dbeta = nullptr;  ///< [C]
  bool add_dx = false, add_dresidual = false, add_dgamma = false, add_dbeta = false;
};
using NormGradients = NormGradientsOf<float>;

/// What layer_norm_backward reads: dy, x [rows,C]; gamma [C]; mean, rstd [rows], layer_norm_forward's.
template <class Real>
struct LayerNormBackwardOf {
  const Real *dy, *x;
  const float *gamma, *mean, *rstd;
};
using LayerNormBackward = LayerNormBackwardOf<float>;

/// The places of two tensors that belong together, by up to five axes, outermost first. Strides count
/// numbers; 0 where all along an axis is the same.
struct StridedShape {
  static constexpr int axes = 5;
  int64_t sizes[axes] = {1, 1, 1, 1, 1}, y[axes] = {}, x[axes] = {};
  int64_t elements() const {
    int64_t product = 1;
    for (const int64_t size : sizes) product *= size;
    return product;
  }
};

/// Rows top .. bottom-1 and columns left .. right-1 of an image.
struct Box {
  int32_t top, left, bottom, right;
};

/// n images out of a data set x: pixel (h,w) of image i is pixel (down[i,h], across[i,w]) of x[rows[i]];
/// where either is -1 it is black: 0 in all channels. What an image's boxes (`holes`) cover is 0 whatever
/// scale and shift.
struct ImageViews {
  const uint8_t* x;              ///< [*,H,W,C]
  const int64_t* rows;           ///< [n]
  const int32_t *down, *across;  ///< [n,H], [n,W]
  const Box* holes;              ///< [n,holes_each]
  int64_t n, h, w, c, holes_each;
};

/// A weight by its first and its last axis: w [rows,pixels,columns], whatever lies between them as pixels.
struct AxesShape {
  int64_t rows, pixels, columns;
  int64_t elements() const { return rows * pixels * columns; }
  bool operator==(const AxesShape&) const = default;
};

/// x [outer,axis,inner], of whose middle axis `count` indices are taken; `inner` in bytes.
struct TakeShape {
  int64_t outer, axis, count, inner;
  bool operator==(const TakeShape&) const = default;
};

/// One parameter in an optimizer's pass: w, g, slots [n] f32; mask [n] u8 of 0 and 1, or null.
struct UpdateSpan {
  float* w;
  const float* g;
  const uint8_t* mask;
  float* slot0;
  float* slot1;
  int64_t n;
};

/// What every optimizer step shares. The gradient is multiplied by *gradient_scale, f32 in the weights'
/// memory (null: 1), as it is read: clipping.
struct SgdStep {
  float lr, momentum, weight_decay;
  const float* gradient_scale;
  bool nesterov, first;  ///< first: the momentum buffer starts as the gradient
};
struct AdamStep {
  float lr;
  double beta1, beta2;  ///< 1 - beta2 would lose half its digits in f32
  float eps, weight_decay;
  const float* gradient_scale;
  bool decoupled;                  ///< AdamW: the decay acts on the weight, not on the gradient
  float correction1, correction2;  ///< 1 - beta1^t, 1 - beta2^t
};

/// What a run has seen since it was last cleared, added up where the network computes, so that nobody waits
/// for it.
struct Tally {
  double loss_sum;           ///< of the images
  int64_t correct, in_five;  ///< images whose label came first, and among the first five
};

// --- memory and elementwise (core/cpu/elementwise.cpp)
// -------------------------------------------------------------
ESP_KERNEL(void, set_bytes, void* y, int value, size_t bytes)
ESP_KERNEL(void, copy_bytes, void* y, const void* x, size_t bytes)
ESP_KERNEL_REAL(void, fill, Real* y, float value, int64_t n)
/// y = x, rounded
ESP_KERNEL(void, cast, bf16* y, const float* x, int64_t n)
/// y = x, or y += x
ESP_KERNEL(void, cast, float* y, const bf16* x, int64_t n, bool accumulate)
/// y = a + b; y may be a or b
ESP_KERNEL_REAL(void, add, Real* y, const Real* a, const Real* b, int64_t n)
/// y = a b, or y += a b
ESP_KERNEL_REAL(void, mul, Real* y, const Real* a, const Real* b, int64_t n, bool accumulate)
/// y = factor x, or y += factor x
ESP_KERNEL_REAL(void, scale, Real* y, const Real* x, float factor, int64_t n, bool accumulate)
/// y = *factor x, or y += *factor x
ESP_KERNEL_REAL(void, scale_by, Real* y, const Real* x, const float* factor, int64_t n, bool accumulate)
/// y = factor, or y += factor, in all n places, with factor = *scalar times `times`: the gradient of a sum or
/// a mean
ESP_KERNEL_REAL(void, broadcast, Real* y, const float* scalar, float times, int64_t n, bool accumulate)
/// y[r, i] = x[r, i], or y += x, in i < columns of all rows; y and x are the first columns of rows that are
/// y_width and x_width long
ESP_KERNEL_REAL(void, copy_columns, Real* y, int64_t y_width, const Real* x, int64_t x_width, int64_t columns,
                int64_t rows, bool accumulate)
/// y = x, or y += x, at the places of s: permute, crop, repeat
ESP_KERNEL_REAL(void, copy_strided, Real* y, const Real* x, const StridedShape& s, bool accumulate)
/// y = keep_i x / (1 - p), where keep_i, a function of `key` and i, is 0 with probability p; its own gradient
ESP_KERNEL_REAL(void, dropout, Real* y, const Real* x, float p, uint64_t key, int64_t n, bool accumulate)
/// y = min(max(x, low), high); a NaN stays one
ESP_KERNEL_REAL(void, clip_forward, Real* y, const Real* x, float low, float high, int64_t n)
/// dx = dy where low <= x <= high, else 0
ESP_KERNEL_REAL(void, clip_backward, Real* dx, const Real* dy, const Real* x, float low, float high,
                int64_t n, bool accumulate)
// --- images of a batch (core/cpu/images.cpp)
// -----------------------------------------------------------------------
/// y [n] = x[rows[i]]: the labels of a batch
ESP_KERNEL(void, gather_labels, int32_t* y, const int32_t* x, const int64_t* rows, int64_t n)
/// y[i,:] = x[rows[i],:] scale[c] + shift[c], x u8 [*,pixels,C], y [n,pixels,C]: a batch put together
/// from a data set
ESP_KERNEL_REAL(void, gather_images, Real* y, const uint8_t* x, const int64_t* rows, int64_t n,
                int64_t pixels, int64_t channels, const float* scale, const float* shift)
/// The same for images that are seen moved, mirrored and with boxes of zeros: y [n,H,W,C]
ESP_KERNEL_REAL(void, gather_views, Real* y, const ImageViews& views, const float* scale, const float* shift)

// --- activations (core/cpu/activation.cpp)
// -------------------------------------------------------------------------
/// y = f(x); y may be x. gelu is the exact one, x Phi(x); silu is x sigmoid(x), hard_sigmoid relu6(x + 3) / 6
/// and hard_swish x hard_sigmoid(x).
ESP_KERNEL_REAL(void, activation_forward, Real* y, const Real* x, Activation f, int64_t n)
/// dx = dy f'(.), from x where keeps_input(f), else from y: `saved` is that one
ESP_KERNEL_REAL(void, activation_backward, Real* dx, const Real* dy, const Real* saved, Activation f,
                int64_t n, bool accumulate)
/// dx [rows,cols] = dy f'(saved), db [cols] = column sums of dx, in one pass. f == none leaves dx alone (may
/// be null). scratch: rows_scratch(cols)
ESP_KERNEL_REAL(void, activation_bias_backward, Real* dx, float* db, const Real* dy, const Real* saved,
                Activation f, int64_t rows, int64_t cols, bool accumulate_db, void* scratch)

// --- reductions (core/cpu/reduce.cpp)
// ------------------------------------------------------------------------------
/// bytes of scratch for a sum over rows of `cols` columns
ESP_KERNEL(size_t, rows_scratch, int64_t cols)
/// bytes of scratch for a reduction to one number
ESP_KERNEL(size_t, reduce_scratch, )
/// y [1] = factor sum x_i, summed in double precision
ESP_KERNEL_REAL(void, sum, float* y, const Real* x, float factor, int64_t n, void* scratch)
/// y [1] = the index of the first x_i that is not finite, or -1
ESP_KERNEL_REAL(void, first_not_finite, int64_t* y, const Real* x, int64_t n)

// --- linear (core/cpu/linear/gemm.cpp)
// ------------------------------------------------------------------------------------
/// Bytes that linear_prepare fills for a weight that will not change (inference); 0: nothing is worth
/// preparing.
ESP_KERNEL(size_t, linear_prepared_bytes, const LinearShape& s)
ESP_KERNEL(void, linear_prepare, void* prepared, const float* w, const LinearShape& s)
/// y = f(x w' + b); b may be null; `prepared`: linear_prepare's, or null
ESP_KERNEL(size_t, linear_forward_scratch, const LinearShape& s, bool bias)
ESP_KERNEL_REAL(void, linear_forward, Real* y, const Real* x, const Real* w, const void* prepared,
                const float* b, Activation f, const LinearShape& s, void* scratch)
/// dx = dy w
ESP_KERNEL(size_t, linear_backward_data_scratch, const LinearShape& s, bool accumulate)
ESP_KERNEL_REAL(void, linear_backward_data, Real* dx, const Real* dy, const Real* w, const LinearShape& s,
                bool accumulate, void* scratch)
/// dw = dy' x
ESP_KERNEL(size_t, linear_backward_weights_scratch, const LinearShape& s, bool accumulate)
ESP_KERNEL_REAL(void, linear_backward_weights, float* dw, const Real* dy, const Real* x, const LinearShape& s,
                bool accumulate, void* scratch)

// --- products of activations (core/cpu/linear/matmul.cpp)
// ------------------------------------------------------------------------------------
/// y = a b, or y += a b
ESP_KERNEL(size_t, matmul_scratch, const MatmulShape& s, bool accumulate)
ESP_KERNEL_REAL(void, matmul, Real* y, const Real* a, const Real* b, const MatmulShape& s, bool accumulate,
                void* scratch)

// --- softmax (core/cpu/softmax.cpp)
// ------------------------------------------------------------------------------------
/// y = e^x / sum e^x over each row of x [rows,C]
ESP_KERNEL_REAL(void, softmax_forward, Real* y, const Real* x, const NormShape& s)
/// dx = y (dy - sum dy y), or dx += that
ESP_KERNEL_REAL(void, softmax_backward, Real* dx, const Real* dy, const Real* y, const NormShape& s,
                bool accumulate)

// --- convolution (core/cpu/conv/)
// -------------------------------------------------------------------------------
/// Bytes that conv2d_prepare fills for a weight that will not change (inference); 0: nothing is worth
/// preparing.
ESP_KERNEL(size_t, conv2d_prepared_bytes, const ConvShape& s)
/// The weight as conv2d_forward wants it for this shape.
ESP_KERNEL(void, conv2d_prepare, void* prepared, const float* w, const ConvShape& s)
/// y = f((x * w) scale + shift + residual); `prepared`: conv2d_prepare's, or null
ESP_KERNEL_REAL(size_t, conv2d_forward_scratch, const ConvShape& s, const ConvEpilogueOf<Real>& e)
ESP_KERNEL_REAL(void, conv2d_forward, Real* y, const Real* x, const Real* w, const void* prepared,
                const ConvEpilogueOf<Real>& e, const ConvShape& s, void* scratch)
ESP_KERNEL(size_t, conv2d_backward_data_scratch, const ConvShape& s, bool accumulate)
ESP_KERNEL_REAL(void, conv2d_backward_data, Real* dx, const Real* dy, const Real* w, const ConvShape& s,
                bool accumulate, void* scratch)
ESP_KERNEL(size_t, conv2d_backward_weights_scratch, const ConvShape& s, bool accumulate)
ESP_KERNEL_REAL(void, conv2d_backward_weights, float* dw, const Real* dy, const Real* x, const ConvShape& s,
                bool accumulate, void* scratch)

// --- batch norm (core/cpu/norm.cpp)
// ---------------------------------------------------------------------------------
/// statistics of x [rows,C]
ESP_KERNEL(size_t, channel_statistics_scratch, const NormShape& s)
ESP_KERNEL_REAL(void, channel_statistics, const ChannelStatistics& to, const Real* x, const NormShape& s,
                void* scratch)
/// rstd = 1 / sqrt(variance + eps), scale = gamma rstd, shift = beta - mean scale: the norm is x scale +
/// shift; [C] each. Moves running statistics by mean and variance, which are not theirs.
ESP_KERNEL(void, norm_scale_shift, float* scale, float* shift, float* rstd, const float* mean,
           const float* variance, const float* gamma, const float* beta, float eps,
           const RunningStatistics& running, int64_t c)
/// y = f(x scale + shift + residual); residual may be null; y may be x or residual
ESP_KERNEL_REAL(void, scale_shift_forward, Real* y, const Real* x, const float* scale, const float* shift,
                const Real* residual, Activation f, const NormShape& s)
/// With z = x scale + shift + residual and dz = dy f'(z): dresidual = dz, dbeta = sum of dz, dgamma = sum of
/// dz (x - mean) rstd over rows; dx = scale (dz - (dbeta + (x - mean) rstd dgamma) / rows) if mean and rstd
/// are x's own, else scale dz. Two passes over memory; dresidual, or without one dx, may be dy.
ESP_KERNEL(size_t, batch_norm_backward_scratch, const NormShape& s)
ESP_KERNEL_REAL(void, batch_norm_backward, const NormGradientsOf<Real>& to, const NormBackwardOf<Real>& from,
                const NormShape& s, void* scratch)

// --- layer norm (core/cpu/layer_norm.cpp)
// ---------------------------------------------------------------------------------
/// y = (x - mean) rstd gamma + beta, x [rows,C], with each row's own mean and rstd = 1 / sqrt(variance +
/// eps), of its C numbers, which are written, too: [rows]
ESP_KERNEL_REAL(void, layer_norm_forward, Real* y, float* mean, float* rstd, const Real* x,
                const float* gamma, const float* beta, float eps, const NormShape& s)
/// With z = (x - mean) rstd and dz = dy gamma: dbeta = sum of dy, dgamma = sum of dy z over rows; dx = rstd
/// (dz - (sum of dz + z sum of dz z) / C), sums over the row.
ESP_KERNEL(size_t, layer_norm_backward_scratch, const NormShape& s)
ESP_KERNEL_REAL(void, layer_norm_backward, const NormGradientsOf<Real>& to,
                const LayerNormBackwardOf<Real>& from, const NormShape& s, void* scratch)

// --- pooling (core/cpu/pool.cpp)
// -----------------------------------------------------------------------------------
/// y = the largest of each window (padding never wins; the first among equals), index: its place in the
/// window, ky k.across + kx; index may be null
ESP_KERNEL_REAL(void, max_pool_forward, Real* y, uint8_t* index, const Real* x, const PoolShape& s)
ESP_KERNEL_REAL(void, max_pool_backward, Real* dx, const Real* dy, const uint8_t* index, const PoolShape& s,
                bool accumulate)
/// y = sum of each window / its pixels, as count_include_pad counts them; padding is zeros
ESP_KERNEL_REAL(void, average_pool_forward, Real* y, const Real* x, const PoolShape& s)
ESP_KERNEL_REAL(void, average_pool_backward, Real* dx, const Real* dy, const PoolShape& s, bool accumulate)
/// y [n,C] = the mean over the pixels of x [n,pixels,C]
ESP_KERNEL_REAL(void, global_average_pool_forward, Real* y, const Real* x, int64_t n, int64_t pixels,
                int64_t c)
/// dx [n,pixels,C] = dy [n,C] / pixels
ESP_KERNEL_REAL(void, global_average_pool_backward, Real* dx, const Real* dy, int64_t n, int64_t pixels,
                int64_t c, bool accumulate)

// --- one number an image and channel, s [n,C], beside all of its pixels, x [n,pixels,C]
// (core/cpu/pixels.cpp)
// -----------------------------------------------------------------------------------
/// y = x + s; y may be x
ESP_KERNEL_REAL(void, add_to_pixels, Real* y, const Real* x, const Real* s, int64_t n, int64_t pixels,
                int64_t c)
/// y = x s, or y += x s; y may be x
ESP_KERNEL_REAL(void, mul_pixels, Real* y, const Real* x, const Real* s, int64_t n, int64_t pixels, int64_t c,
                bool accumulate)
/// s = the sum over the pixels of a b, or s += that; b may be null: 1
ESP_KERNEL_REAL(void, sum_pixels, Real* s, const Real* a, const Real* b, int64_t n, int64_t pixels, int64_t c,
                bool accumulate)

// --- loss (core/cpu/loss.cpp)
// --------------------------------------------------------------------------------------
/// loss [n] = cross-entropy of softmax(logits [n,classes]) against labels [n] smoothed by `smoothing` (a
/// share of the target spread evenly over all classes); dlogits [n,classes] = d(mean loss)/dlogits, or null;
/// rank [n], or null: how many classes come before the label's when sorted by logit, ties by index (0: top-1
/// right).
ESP_KERNEL_REAL(void, softmax_cross_entropy, float* loss, Real* dlogits, int32_t* rank, const Real* logits,
                const int32_t* labels, float smoothing, int64_t n, int64_t classes)
/// loss [n] = T^2 KL(softmax(teacher / T) || softmax(logits / T)) of rows of logits and teacher, both
/// [n,classes]; dlogits [n,classes] = d(mean loss)/dlogits = T (softmax(logits / T) - softmax(teacher / T)) /
/// n, or null: exactly 0 where the two are the same.
ESP_KERNEL_REAL(void, softmax_kl_divergence, float* loss, Real* dlogits, const Real* logits,
                const Real* teacher, float temperature, int64_t n, int64_t classes)

/// Adds a batch of n to the tally: *loss, its mean loss, n times, and rank [n], softmax_cross_entropy's.
ESP_KERNEL(void, add_to_tally, Tally* tally, const float* loss, const int32_t* rank, int64_t n)

// --- optimizer updates, one fused pass over all parameters (core/cpu/update.cpp)
// -----------------------------------
/// y [1] = sum of g^2 over all spans where their masks keep, in double precision
ESP_KERNEL(void, gradient_square_sum, double* y, const UpdateSpan* spans, int64_t count, void* scratch)
/// factor [1] = min(1, max_norm / (sqrt(*square_sum) + 1e-6)), as torch.nn.utils.clip_grad_norm_
ESP_KERNEL(void, clip_factor, float* factor, const double* square_sum, double max_norm)
/// g += weight_decay w; v = momentum v + g (slot0); w -= lr (nesterov ? g + momentum v : v); masked entries
/// stay 0
ESP_KERNEL(void, sgd_update, const UpdateSpan* spans, int64_t count, const SgdStep& step)
/// m = b1 m + (1-b1) g (slot0); v = b2 v + (1-b2) g^2 (slot1); w -= lr (m/c1) / (sqrt(v/c2) + eps); masked
/// entries stay 0
ESP_KERNEL(void, adam_update, const UpdateSpan* spans, int64_t count, const AdamStep& step)
/// average = decay average + (1 - decay) w, with average in slot0
ESP_KERNEL(void, ema_update, const UpdateSpan* spans, int64_t count, float decay)
/// w = mask w, for all spans
ESP_KERNEL(void, apply_mask, float* w, const uint8_t* mask, int64_t n)

// --- surgery (core/cpu/surgery.cpp)
// --------------------------------------------------------------------------------
/// y [outer,count,inner] = the indices kept [count], ascending, of the middle axis of x
ESP_KERNEL(void, take, void* y, const void* x, const int64_t* kept, const TakeShape& s)

// --- penalties, and what criteria look at (core/cpu/regularize.cpp)
// ------------------------------------------------
/// dw += weight sign(w), where `where` [n] (null: everywhere) is not 0
ESP_KERNEL(void, add_signs, float* dw, const float* w, const uint8_t* where, float weight, int64_t n)
/// w = sign(w) max(0, |w| - by); a NaN stays one
ESP_KERNEL(void, shrink, float* w, float by, int64_t n)
/// out [rows] and in [columns]: sums of squares of w along all its other axes. `in` is null for a vector, of
/// one pixel and one column.
ESP_KERNEL(size_t, axis_squares_scratch, const AxesShape& s)
ESP_KERNEL(void, axis_squares, double* out, double* in, const float* w, const AxesShape& s, void* scratch)
/// y[i] = the sum of x[index[j]] for begin[i] <= j < begin[i+1], in this order
ESP_KERNEL(void, gather_sums, double* y, const double* x, const int32_t* begin, const int32_t* index,
           int64_t n)
ESP_KERNEL(void, gather_sums, float* y, const float* x, const int32_t* begin, const int32_t* index, int64_t n)
/// by[c] = weight 2^(4 (max - r_c) / (max - min)), with r_c = sqrt(squares[c] / members[c]) and the bounds of
/// a group's; those of group g are begin[g] .. begin[g+1]-1. Where all of a group are alike: weight.
ESP_KERNEL(void, group_norm_pull, float* by, const double* squares, const int32_t* members,
           const int32_t* begin, int64_t groups, double weight)
/// by[c] = weight / sqrt(squares[c]), or 0 where that is 0
ESP_KERNEL(void, group_lasso_pull, float* by, const double* squares, double weight, int64_t channels)
/// dw [rows,pixels,columns] += (out[row] + in[column]) w; `in` may be null: 0
ESP_KERNEL(void, pull, float* dw, const float* w, const float* out, const float* in, const AxesShape& s)
/// y += share x^2
ESP_KERNEL(void, add_squares, float* y, const float* x, float share, int64_t n)

}  // namespace espalier

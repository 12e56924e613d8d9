// The contract: every kernel once, for both devices. core/cpu fulfils it on the CPU, cuda/ on the GPU; a
// build that lacks one fails at link time. A kernel takes pointers and a shape, writes its outputs, allocates
// nothing and checks nothing. Scratch memory is an argument; X_scratch says how many bytes kernel X wants.
// Images are NHWC, convolution weights OHWI, linear weights [O,I]. `accumulate`: add into the output instead
// of overwriting it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "espalier/core/tensor.h"

/// Declares one kernel in espalier::cpu and in espalier::cuda.
#define ESP_KERNEL(result, name, ...) \
  namespace cpu {                     \
  result name(__VA_ARGS__);           \
  }                                   \
  namespace cuda {                    \
  result name(__VA_ARGS__);           \
  }

/// Calls a kernel on a device: ESP_RUN(x.device(), add(y, a, b, n)).
#ifdef ESPALIER_CUDA
#define ESP_RUN(device, call) \
  ((device) == ::espalier::Device::cuda ? ::espalier::cuda::call : ::espalier::cpu::call)
#else
#define ESP_RUN(device, call) (static_cast<void>(device), ::espalier::cpu::call)
#endif

namespace espalier {

enum class Activation : uint8_t { none, relu, gelu, sigmoid, tanh };

/// x [N,I], w [O,I], y [N,O]
struct LinearShape {
  int64_t n, in, out;
  bool operator==(const LinearShape&) const = default;
};

/// x [N,H,W,C], w [O,Kh,Kw,C/groups], y [N,out_h,out_w,O]
struct ConvShape {
  int64_t n, h, w, c, o, kh, kw;
  int64_t stride = 1, pad = 0, groups = 1;
  int64_t out_h() const { return (h + 2 * pad - kh) / stride + 1; }
  int64_t out_w() const { return (w + 2 * pad - kw) / stride + 1; }
  bool operator==(const ConvShape&) const = default;
};

/// x [N,H,W,C], y [N,out_h,out_w,C]; windows of k x k
struct PoolShape {
  int64_t n, h, w, c, k;
  int64_t stride, pad = 0;
  int64_t out_h() const { return (h + 2 * pad - k) / stride + 1; }
  int64_t out_w() const { return (w + 2 * pad - k) / stride + 1; }
  bool operator==(const PoolShape&) const = default;
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

/// What every optimizer step shares. The gradient is multiplied by `gradient_scale` as it is read (clipping).
struct SgdStep {
  float lr, momentum, weight_decay, gradient_scale;
  bool nesterov, first;  ///< first: the momentum buffer starts as the gradient
};
struct AdamStep {
  float lr;
  double beta1, beta2;  ///< 1 - beta2 would lose half its digits in f32
  float eps, weight_decay, gradient_scale;
  bool decoupled;                  ///< AdamW: the decay acts on the weight, not on the gradient
  float correction1, correction2;  ///< 1 - beta1^t, 1 - beta2^t
};

// --- memory and elementwise (core/cpu/elementwise.cpp)
// -------------------------------------------------------------
ESP_KERNEL(void, set_bytes, void* y, int value, size_t bytes)
ESP_KERNEL(void, copy_bytes, void* y, const void* x, size_t bytes)
ESP_KERNEL(void, fill, float* y, float value, int64_t n)
/// y = a + b; y may be a or b
ESP_KERNEL(void, add, float* y, const float* a, const float* b, int64_t n)
/// y = a b, or y += a b
ESP_KERNEL(void, mul, float* y, const float* a, const float* b, int64_t n, bool accumulate)
/// y = factor x, or y += factor x
ESP_KERNEL(void, scale, float* y, const float* x, float factor, int64_t n, bool accumulate)
/// y = factor, or y += factor, in all n places, with factor = *scalar times `times`: the gradient of a sum or
/// a mean
ESP_KERNEL(void, broadcast, float* y, const float* scalar, float times, int64_t n, bool accumulate)
/// y = keep_i x / (1 - p), where keep_i, a function of `key` and i, is 0 with probability p; its own gradient
ESP_KERNEL(void, dropout, float* y, const float* x, float p, uint64_t key, int64_t n, bool accumulate)
/// y[i,:] = x[rows[i],:] scale[c] + shift[c], x u8 [*,pixels,C], y f32 [n,pixels,C]: a batch put together
/// from a data set
ESP_KERNEL(void, gather_images, float* y, const uint8_t* x, const int64_t* rows, int64_t n, int64_t pixels,
           int64_t channels, const float* scale, const float* shift)

// --- activations (core/cpu/activation.cpp)
// -------------------------------------------------------------------------
/// y = f(x); y may be x. gelu is the exact one, x Phi(x).
ESP_KERNEL(void, activation_forward, float* y, const float* x, Activation f, int64_t n)
/// dx = dy f'(.), from y for relu, sigmoid and tanh, from x for gelu: `saved` is that one
ESP_KERNEL(void, activation_backward, float* dx, const float* dy, const float* saved, Activation f, int64_t n,
           bool accumulate)
/// dx [rows,cols] = dy f'(saved), db [cols] = column sums of dx, in one pass. f == none leaves dx alone (may
/// be null). scratch: rows_scratch(cols)
ESP_KERNEL(void, activation_bias_backward, float* dx, float* db, const float* dy, const float* saved,
           Activation f, int64_t rows, int64_t cols, bool accumulate_db, void* scratch)

// --- reductions (core/cpu/reduce.cpp)
// ------------------------------------------------------------------------------
/// bytes of scratch for a sum over rows of `cols` columns
ESP_KERNEL(size_t, rows_scratch, int64_t cols)
/// bytes of scratch for a reduction to one number
ESP_KERNEL(size_t, reduce_scratch, )
/// y [1] = factor sum x_i, summed in double precision
ESP_KERNEL(void, sum, float* y, const float* x, float factor, int64_t n, void* scratch)
/// sum of x_i^2 where mask [n] is not 0 (null: of all), in double precision
ESP_KERNEL(double, square_sum, const float* x, const uint8_t* mask, int64_t n, void* scratch)
/// the index of the first x_i that is not finite, or -1
ESP_KERNEL(int64_t, first_not_finite, const float* x, int64_t n)

// --- linear (core/cpu/gemm.cpp)
// ------------------------------------------------------------------------------------
/// y = x w' + b; b may be null
ESP_KERNEL(size_t, linear_forward_scratch, const LinearShape& s, bool bias)
ESP_KERNEL(void, linear_forward, float* y, const float* x, const float* w, const float* b,
           const LinearShape& s, void* scratch)
/// dx = dy w
ESP_KERNEL(size_t, linear_backward_data_scratch, const LinearShape& s, bool accumulate)
ESP_KERNEL(void, linear_backward_data, float* dx, const float* dy, const float* w, const LinearShape& s,
           bool accumulate, void* scratch)
/// dw = dy' x
ESP_KERNEL(size_t, linear_backward_weights_scratch, const LinearShape& s, bool accumulate)
ESP_KERNEL(void, linear_backward_weights, float* dw, const float* dy, const float* x, const LinearShape& s,
           bool accumulate, void* scratch)

// --- convolution (core/cpu/conv.cpp)
// -------------------------------------------------------------------------------
/// y = x * w + b; b may be null
ESP_KERNEL(size_t, conv2d_forward_scratch, const ConvShape& s, bool bias)
ESP_KERNEL(void, conv2d_forward, float* y, const float* x, const float* w, const float* b, const ConvShape& s,
           void* scratch)
ESP_KERNEL(size_t, conv2d_backward_data_scratch, const ConvShape& s, bool accumulate)
ESP_KERNEL(void, conv2d_backward_data, float* dx, const float* dy, const float* w, const ConvShape& s,
           bool accumulate, void* scratch)
ESP_KERNEL(size_t, conv2d_backward_weights_scratch, const ConvShape& s, bool accumulate)
ESP_KERNEL(void, conv2d_backward_weights, float* dw, const float* dy, const float* x, const ConvShape& s,
           bool accumulate, void* scratch)

// --- pooling (core/cpu/pool.cpp)
// -----------------------------------------------------------------------------------
/// y = the largest of each window (padding never wins; the first among equals), index: its place in the
/// window, ky k + kx; index may be null
ESP_KERNEL(void, max_pool_forward, float* y, uint8_t* index, const float* x, const PoolShape& s)
ESP_KERNEL(void, max_pool_backward, float* dx, const float* dy, const uint8_t* index, const PoolShape& s,
           bool accumulate)
/// y = sum of each window / k^2 (padding counts as zeros, as PyTorch's count_include_pad)
ESP_KERNEL(void, average_pool_forward, float* y, const float* x, const PoolShape& s)
ESP_KERNEL(void, average_pool_backward, float* dx, const float* dy, const PoolShape& s, bool accumulate)

// --- loss (core/cpu/loss.cpp)
// --------------------------------------------------------------------------------------
/// loss [n] = cross-entropy of softmax(logits [n,classes]) against labels [n] smoothed by `smoothing` (a
/// share of the target spread evenly over all classes); dlogits [n,classes] = d(mean loss)/dlogits, or null;
/// rank [n], or null: how many classes come before the label's when sorted by logit, ties by index (0: top-1
/// right).
ESP_KERNEL(void, softmax_cross_entropy, float* loss, float* dlogits, int32_t* rank, const float* logits,
           const int32_t* labels, float smoothing, int64_t n, int64_t classes)

// --- optimizer updates, one fused pass over all parameters (core/cpu/update.cpp)
// -----------------------------------
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

}  // namespace espalier

// The catalogue of ops. Each checks its arguments, computes, and records its backward; forward and backward
// of an op and its row (op.h) stand side by side in ops/<family>.cpp. Shapes: N images, H x W pixels, C
// channels, I inputs, O outputs.
#pragma once

#include <optional>

#include "espalier/autograd/variable.h"
#include "espalier/core/kernels.h"
#include "espalier/core/window.h"

namespace espalier::ops {

// --- ops/linear.cpp
/// y [N,...,O] = f(x [N,...,I] w' + b), w [O,I], b [O] or undefined: of each row of x, [N,I], or of each
/// token, [N,T,I]. With z = x w' + b and dz = dy f'(z): dx = dz w, dw = dz' x, db = column sums of dz.
Variable linear(const Variable& x, const Variable& w, const Variable& b, Activation f = Activation::none);

// --- ops/conv.cpp
/// Strides and dilation by axis, padding by side, where they are not alike (core/window.h).
struct Conv2dOptions {
  ByAxis stride = 1;
  Padding pad = 0;
  int64_t groups = 1;
  ByAxis dilation = 1;
};
/// Mean and variance of each channel, [C]: what batch norm wants to know of its input.
struct BatchStatistics {
  Tensor center;          ///< a guess at the mean, such as the running one: ChannelStatistics
  Tensor mean, variance;  ///< of the population
};
/// y [N,H',W',O] = f(x [N,H,W,C] * w + b), w [O,Kh,Kw,C/groups], b [O] or undefined; H' = (H + top + bottom -
/// dilation (Kh - 1) - 1) / stride + 1, and W' likewise. Cross-correlation, as everywhere in the field.
/// `statistics`, if given, gets those of y, taken while y is in cache where the kernel is ours
/// (core/cpu/conv/conv.cpp); its center is read.
///
/// Gradients, of one group: with z[n,i,j,o] = b[o] + sum over k,l,c of x[n,h,v,c] w[o,k,l,c], where tap (k,l)
/// of output (i,j) reads pixel h = stride i - top + dilation k, v = stride j - left + dilation l, and zeros
/// outside the image, every product gives its derivative to both factors. With dz = dy f'(z):
///   dw[o,k,l,c] = sum over n,i,j of dz[n,i,j,o] x[n,h,v,c]: x correlated with dz
///   dx[n,h,v,c] = sum over o and all i,j,k,l that read pixel (h,v) of dz[n,i,j,o] w[o,k,l,c]
///   db[o] = sum over n,i,j of dz[n,i,j,o]
/// At stride 1 dx is a convolution of dz itself: w turned by 180 degrees, O and C exchanged, and padded by
/// dilation (K - 1) less the padding (Dumoulin and Visin 2016).
Variable conv2d(const Variable& x, const Variable& w, const Variable& b, const Conv2dOptions& options = {},
                Activation f = Activation::none, BatchStatistics* statistics = nullptr);

// --- ops/norm.cpp
/// A norm's parameters, [C] each; the running statistics are moved by the op while training.
struct BatchNorm {
  Variable gamma, beta, running_mean, running_variance;
  float eps = 1e-5f, momentum = 0.1f;
  bool training = true;  ///< normalise by the batch's statistics, else by the running ones
};
/// y = f((x - mean) / sqrt(variance + eps) gamma + beta + residual), x [N,H,W,C] or [N,C], residual of x's
/// shape or undefined, f none or what derives_from_input (Ioffe and Szegedy 2015). `statistics`: x's, if its
/// maker took them.
Variable batch_norm(const Variable& x, const BatchNorm& norm, Activation f = Activation::none,
                    const Variable& residual = {}, const BatchStatistics* statistics = nullptr);
/// y = f(batch_norm(conv2d(x, w, b)) + residual), and in inference, where nothing is recorded, also in frozen
/// layers that no gradient comes to, as one pass: the norm by its running statistics is folded into the
/// convolution's output.
Variable conv2d_batch_norm(const Variable& x, const Variable& w, const Variable& b,
                           const Conv2dOptions& options, const BatchNorm& norm,
                           Activation f = Activation::none, const Variable& residual = {});

// --- ops/layer_norm.cpp
/// y = (x - mean) / sqrt(variance + eps) gamma + beta over the last axis of x [...,C], gamma and beta [C]
/// (Ba, Kiros and Hinton 2016).
Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta, float eps = 1e-5f);

// --- ops/activation.cpp
/// y = f(x), elementwise. relu: max(x, 0). gelu: x Phi(x), exact (Hendrycks and Gimpel 2016). sigmoid: 1 / (1
/// + e^-x). relu6: min(relu(x), 6). silu: x sigmoid(x). hard_sigmoid: relu6(x + 3) / 6, hard_swish: x
/// hard_sigmoid(x) (Howard et al. 2019). leaky_relu: x, or x / 100 where that is negative.
Variable activation(const Variable& x, Activation f);
/// y = min(max(x, low), high), low <= high, either of them infinite where there is no such bound: PyTorch's
/// clamp. The gradient passes where low <= x <= high.
Variable clip(const Variable& x, float low, float high);

// --- ops/pool.cpp
/// y [N,H',W',C]: the largest of each window of k x k (or k.down x k.across); stride 0 means k. H' = (H + top
/// + bottom - k) / stride + 1; with `ceil_mode` rounded up, as long as the last window starts before the
/// padding's end, as PyTorch does it. The gradient goes to the first largest.
Variable max_pool2d(const Variable& x, ByAxis k, ByAxis stride = 0, Padding pad = 0, bool ceil_mode = false);
/// y [N,H',W',C]: the mean of each window: of its pixels and its padding's zeros, or without
/// `count_include_pad` only of its pixels. What `ceil_mode` adds past the padding never counts.
Variable average_pool2d(const Variable& x, ByAxis k, ByAxis stride = 0, Padding pad = 0,
                        bool ceil_mode = false, bool count_include_pad = true);
/// y [N,C]: the mean over all pixels of x [N,H,W,C].
Variable global_average_pool(const Variable& x);
/// y [N,h,w,C]: the means of h x w equal windows that x [N,H,W,C] is divided into; h divides H, w divides W.
Variable adaptive_average_pool2d(const Variable& x, int64_t h, int64_t w);

// --- ops/shape.cpp
/// [N,H,W,C] to [N,HWC]: channel c of pixel hw becomes feature hw C + c. Costs nothing.
Variable flatten(const Variable& x);
/// y [...,C1+C2+...]: the channels (the last axis) of all `parts` side by side, [...,Ck] each; or their
/// places along another axis but the first, whose shapes differ only in that one. A negative axis counts
/// from the end.
Variable concat(const std::vector<Variable>& parts, int64_t axis = -1);
/// y [...,channels]: the channels first .. first + channels - 1 of x [...,C].
Variable slice(const Variable& x, int64_t first, int64_t channels);
/// [N,...] to [N,sizes...], the numbers of each image in their order; one size may be -1: what is left. Costs
/// nothing.
Variable reshape(const Variable& x, const std::vector<int64_t>& sizes);
/// x without axis `axis`, not the first, of which it takes place `index`: [N,T,C] to [N,C], say, of one
/// token.
Variable select(const Variable& x, int64_t axis, int64_t index);

// --- ops/strided.cpp
/// Axis i of y is axis axes[i] of x, as PyTorch's permute; the first stays.
Variable permute(const Variable& x, const std::vector<int64_t>& axes);
/// y [N,top+H+bottom,left+W+right,C]: x [N,H,W,C] with `value` around it.
Variable pad(const Variable& x, const Padding& sides, float value = 0.0f);
/// y [N,...]: `one` [1,...], a parameter, for each image of x [N,...], of x's type: a class token, position
/// embeddings (Dosovitskiy et al. 2021). Its gradient is the sum over images.
Variable expand(const Variable& x, const Variable& one);

// --- ops/attention.cpp
/// y [...,M,N] = a b, a [...,M,K], b [...,K,N], or either transposed in memory: a [...,K,M], b [...,N,K]. The
/// axes in front are the same. da = dy b', db = a' dy.
Variable matmul(const Variable& a, const Variable& b, bool a_transposed = false, bool b_transposed = false);
/// y = e^x / sum e^x over the last axis. dx = y (dy - sum dy y).
Variable softmax(const Variable& x);

// --- ops/arithmetic.cpp
/// a + b, b of a's shape; or beside a [N,H,W,C] one number an image and channel, [N,C] or [N,1,1,C], or
/// beside a [...,C] one a channel, [C], f32: a bias. Its gradient is then the sum over what it stands beside.
Variable add(const Variable& a, const Variable& b);
/// a b, b of a's shape or beside it as in add: squeeze-and-excitation (Hu et al. 2018), a scale of each
/// channel.
Variable mul(const Variable& a, const Variable& b);
/// factor x
Variable scale(const Variable& x, float factor);

// --- ops/reduce.cpp
/// The sum of all elements, []
Variable sum(const Variable& x);
/// The mean of all elements, []
Variable mean(const Variable& x);

// --- ops/dropout.cpp
/// Each element is 0 with probability p (a function of `key` and its place), else x / (1 - p)
/// (Srivastava et al. 2014). p in [0,1). Without a key, in inference, x as it is: a graph (graph/graph.h) of
/// such a pass can be trained.
Variable dropout(const Variable& x, float p, std::optional<uint64_t> key);

// --- ops/loss.cpp
struct CrossEntropy {
  Variable loss;  ///< [], the mean over the batch
  Tensor rank;    ///< i32 [N]: how many classes come before the label's; 0 is top-1 right, below 5 top-5
};
/// Mean over N of -sum_k t_k log softmax(logits)_k, with t = (1 - smoothing) onehot(label) + smoothing /
/// classes (Szegedy et al. 2016). logits [N,classes], labels i32 [N], in 0 .. classes-1. dlogits = (softmax -
/// t) / N: with z the logits, the loss of one is log sum_j e^z_j - sum_k t_k z_k, for t sums to 1, and the
/// derivative of that logarithm is softmax(z) (Bridle 1990).
CrossEntropy softmax_cross_entropy(const Variable& logits, const Tensor& labels, float smoothing = 0.0f);
/// Mean over N of T^2 KL(p || q), [], with q = softmax(logits / T) and p = softmax(teacher / T), both
/// [N,classes]: how far the logits are from a teacher's at the temperature T (Hinton, Vinyals and Dean 2015).
/// KL(p || q) = sum_k p_k (log p_k - log q_k). Only the logits get a gradient, T (q - p) / N: the derivative
/// of log softmax is as above, 1 / T of it comes from the division, and T^2 makes gradients at high
/// temperatures about as large as at low ones.
Variable softmax_kl_divergence(const Variable& logits, const Tensor& teacher, float temperature);

}  // namespace espalier::ops

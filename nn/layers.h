// Layers that hold something. What does not (pooling, flatten) is an op: graph/ops.h.
#pragma once

#include "espalier/graph/ops.h"
#include "espalier/nn/module.h"
#include "espalier/nn/norm.h"

namespace espalier {

/// y [N,O] = f(x [N,I] w' + b). `positions`: HW where x is a flattened [N,H,W,C], so that files get PyTorch's
/// column order.
class Linear : public Module {
 public:
  Linear(int64_t in, int64_t out, bool bias = true, Activation f = Activation::none, int64_t positions = 1);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "linear"; }
  std::vector<ChannelAxes> channel_axes() const override { return {{"weight", 0, 1}, {"bias", 0, -1}}; }

 private:
  Parameter& weight_;
  Parameter* bias_;
  Activation f_;
};

/// y [N,H',W',O] = f(x [N,H,W,C] * w + b), windows of k x k. Made with as many groups as inputs it is a
/// depthwise convolution, and stays one: each channel is a group, and one that is cut takes its group along.
/// Any other keeps its groups, even when one input is left in each.
class Conv2d : public Module {
 public:
  Conv2d(int64_t in, int64_t out, ByAxis k, const ops::Conv2dOptions& options = {}, bool bias = true,
         Activation f = Activation::none);
  Variable forward(const Variable& x) override;
  /// f(norm(x * w + b) + residual), as one op with the norm: ops::conv2d_batch_norm.
  Variable forward(const Variable& x, BatchNorm2d& norm, Activation f, const Variable& residual = {});
  std::string type() const override { return "conv2d"; }
  std::vector<ChannelAxes> channel_axes() const override {
    return {{"weight", 0, multiplier_ > 0 ? -1 : 3}, {"bias", 0, -1}};  // depthwise: one input, always
  }

 private:
  ops::Conv2dOptions options() const;

  Parameter& weight_;
  Parameter* bias_;
  ops::Conv2dOptions options_;
  int64_t multiplier_ = 0;  // of a depthwise convolution: outputs of each input channel; else 0
  Activation f_;
};

/// In training y is x with a share p of its numbers dropped (ops::dropout), by the random numbers of the pass
/// (autograd/random_pass.h); in inference x.
class Dropout : public Module {
 public:
  explicit Dropout(float p) : p_(p) {}
  Variable forward(const Variable& x) override;
  std::string type() const override { return "dropout"; }

 private:
  float p_;
};

/// y = (x - mean) / sqrt(variance + eps) weight + bias over the channels of each token, x [...,C].
class LayerNorm : public Module {
 public:
  explicit LayerNorm(int64_t channels, float eps = 1e-5f);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "layer_norm"; }
  std::vector<ChannelAxes> channel_axes() const override { return {{"weight", 0, 0}, {"bias", 0, 0}}; }

 private:
  Parameter &weight_, &bias_;
  float eps_;
};

/// Tokens that are learned, [1,T,D], or what is added to tokens: a parameter that has only its layer's name.
class Embedding : public Module {
 public:
  explicit Embedding(const Shape& shape);
  /// [N,T,D]: for each image of x [N,...], of x's type.
  Variable forward(const Variable& x) override;
  std::string type() const override { return "expand"; }

 private:
  Parameter& value_;
};

}  // namespace espalier

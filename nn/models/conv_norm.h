// A convolution and its norm, as torchvision's Conv2dNormActivation.
#pragma once

#include "espalier/nn/layers.h"

namespace espalier {

/// y = f(norm(x * w) + residual): the convolution, padded so that stride 1 keeps the size, is child 0, the
/// norm child 1.
class ConvNorm : public Module {
 public:
  /// How the norm is made.
  struct NormOptions {
    float eps = 1e-5f, momentum = 0.1f;
  };
  ConvNorm(int64_t in, int64_t out, int64_t k, Activation f, ops::Conv2dOptions options = {},
           const NormOptions& norm = {1e-5f, 0.1f})
      : f_(f) {
    options.pad = k / 2;
    convolution_ = &add_child<Conv2d>("0", in, out, k, options, false);
    norm_ = &add_child<BatchNorm2d>("1", out, norm.eps, norm.momentum);
  }
  Variable forward(const Variable& x) override { return forward(x, {}); }
  Variable forward(const Variable& x, const Variable& residual) {
    return convolution_->forward(x, *norm_, f_, residual);
  }
  std::string type() const override { return "conv_norm"; }

 private:
  Conv2d* convolution_;
  BatchNorm2d* norm_;
  Activation f_;
};

}  // namespace espalier

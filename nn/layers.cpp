#include "espalier/nn/layers.h"

namespace espalier {
namespace {
const Variable none;
}

Linear::Linear(int64_t in, int64_t out, bool bias, Activation f, int64_t positions)
    : weight_(add_parameter("weight", Role::weight, Tensor::zeros({out, in}),
                            positions == 1 ? FileLayout{} : FileLayout{FileLayout::flattened, positions})),
      bias_(bias ? &add_parameter("bias", Role::bias, Tensor::zeros({out})) : nullptr),
      f_(f) {}

Variable Linear::forward(const Variable& x) {
  return ops::linear(x, weight_.variable, bias_ ? bias_->variable : none, f_);
}

Conv2d::Conv2d(int64_t in, int64_t out, ByAxis k, const ops::Conv2dOptions& options, bool bias, Activation f)
    : weight_(add_parameter("weight", Role::weight,
                            Tensor::zeros({out, k.down, k.across, in / options.groups}), {FileLayout::oihw})),
      bias_(bias ? &add_parameter("bias", Role::bias, Tensor::zeros({out})) : nullptr),
      options_(options),
      multiplier_(options.groups > 1 && options.groups == in ? out / in : 0),
      f_(f) {}

ops::Conv2dOptions Conv2d::options() const {
  ops::Conv2dOptions now = options_;
  if (multiplier_ > 0) now.groups = weight_.shape()[0] / multiplier_;
  return now;
}

Variable Conv2d::forward(const Variable& x) {
  return ops::conv2d(x, weight_.variable, bias_ ? bias_->variable : none, options(), f_);
}

Variable Conv2d::forward(const Variable& x, BatchNorm2d& norm, Activation f, const Variable& residual) {
  return ops::conv2d_batch_norm(x, weight_.variable, bias_ ? bias_->variable : none, options(),
                                norm.begin_pass(), f, residual);
}

}  // namespace espalier

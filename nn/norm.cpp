#include "espalier/nn/norm.h"

namespace espalier {

BatchNorm2d::BatchNorm2d(int64_t channels, float eps, float momentum)
    : weight_(add_parameter("weight", Role::scale, Tensor::full({channels}, 1.0f))),
      bias_(add_parameter("bias", Role::shift, Tensor::zeros({channels}))),
      running_mean_(add_parameter("running_mean", Role::buffer, Tensor::zeros({channels}))),
      running_var_(add_parameter("running_var", Role::buffer, Tensor::full({channels}, 1.0f))),
      num_batches_tracked_(add_parameter("num_batches_tracked", Role::buffer, Tensor::zeros({}, DType::i64))),
      eps_(eps),
      momentum_(momentum) {}

float BatchNorm2d::begin_batch() {
  int64_t* const batches = num_batches_tracked_.value().data<int64_t>();  // null on Device::meta
  if (training()) ++*batches;
  return cumulative_ ? 1.0f / static_cast<float>(*batches) : momentum_;
}

ops::BatchNorm BatchNorm2d::begin_pass() {
  const float momentum = begin_batch();
  return {.gamma = weight_.variable,
          .beta = bias_.variable,
          .running_mean = running_mean_.variable,
          .running_variance = running_var_.variable,
          .eps = eps_,
          .momentum = momentum,
          .training = training()};
}

void BatchNorm2d::begin_cumulative_statistics() {
  running_mean_.value().fill(0.0f);
  running_var_.value().fill(0.0f);
  *num_batches_tracked_.value().data<int64_t>() = 0;
  cumulative_ = true;
}

Variable BatchNorm2d::forward(const Variable& x) { return ops::batch_norm(x, begin_pass()); }

std::vector<BatchNorm2d*> batch_norms(Module& model) {
  std::vector<BatchNorm2d*> norms;
  for (const auto& [name, layer] : model.layers())
    if (auto* norm = dynamic_cast<BatchNorm2d*>(layer)) norms.push_back(norm);
  return norms;
}

}  // namespace espalier

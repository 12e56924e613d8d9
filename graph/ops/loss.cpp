#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/operands.h"

namespace espalier::ops {
namespace {

/// Forward writes the gradient of a loss of 1 as well, which backward scales.
Calls loss_kernels(const KernelContext& op) {
  const Tensor logits = operand(op, "logits", 1);
  const Device device = op.pass.device;
  const int64_t n = logits.shape()[0], classes = logits.shape()[1];
  const bool gradient = op.gradient("logits");
  Tensor one = Tensor::full({1}, 1.0f, device), losses = Tensor::empty({n}, DType::f32, device),
         rank = Tensor::empty({n}, DType::i32, device), labels = Tensor::zeros({n}, DType::i32, device);
  Calls calls{{"softmax_cross_entropy", "", 0, traffic(logits, gradient ? 2 : 1),
               [=, dlogits = gradient ? like(logits) : Tensor()]() mutable {
                 ESP_RUN(device,
                         softmax_cross_entropy(losses.f32(), dlogits.f32(), rank.data<int32_t>(),
                                               logits.f32(), labels.data<int32_t>(), 0.0f, n, classes));
               }}};
  if (gradient)
    calls.push_back({"scale_by", "", 0, traffic(logits, 2), [=, dx = like(logits)]() mutable {
                       ESP_RUN(device, scale_by(dx.f32(), logits.f32(), one.f32(), logits.elements(), false));
                     }});
  return calls;
}

}  // namespace

std::vector<Op> loss_rows() {
  return {{.name = "softmax_cross_entropy",  // its labels are no value of a graph: it has no `run`
           .inputs = {{"logits"}},
           .attributes = {{"smoothing", 0.0}},
           .kernels = loss_kernels}};
}

}  // namespace espalier::ops

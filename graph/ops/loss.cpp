#include "espalier/graph/ops.h"

#include <algorithm>

#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/kernel_calls.h"
#include "espalier/graph/ops/scratch.h"

namespace espalier::ops {

CrossEntropy softmax_cross_entropy(const Variable& logits, const Tensor& labels, float smoothing) {
  ESP_CHECK(logits.shape().axes() == 2, "cross-entropy: expects logits [N,classes], found ", logits.shape());
  const int64_t n = logits.shape()[0], classes = logits.shape()[1];
  ESP_CHECK(n > 0 && labels.shape() == Shape{n}, "cross-entropy: ", n, " rows of logits, labels of shape ",
            labels.shape());
  ESP_CHECK(smoothing >= 0.0f && smoothing < 1.0f, "cross-entropy: label smoothing ", smoothing,
            " is not in [0,1)");
  const Device device = logits.value().device();
  ESP_CHECK(labels.device() == device, "cross-entropy: logits are on ", device_name(device), ", labels on ",
            device_name(labels.device()));
  if (device == Device::cpu) {  // elsewhere the data set was checked when it was read
    const auto span = labels.span<int32_t>();
    const auto wrong =
        std::find_if(span.begin(), span.end(), [=](int32_t label) { return label < 0 || label >= classes; });
    ESP_CHECK(wrong == span.end(), "cross-entropy: label ", wrong == span.end() ? 0 : *wrong, " with ",
              classes, " classes");
  }
  Tensor losses = Tensor::empty({n}, DType::f32, device), rank = Tensor::empty({n}, DType::i32, device);
  Tensor dlogits = needs_history({&logits}) ? logits.value().like(logits.shape()) : Tensor();
  ESP_RUN_REAL(logits.value(), softmax_cross_entropy(losses.f32(), dlogits.data<Real>(), rank.data<int32_t>(),
                                                     logits.value().data<Real>(), labels.data<int32_t>(),
                                                     smoothing, n, classes));
  Tensor loss = Tensor::empty({}, DType::f32, device);
  Scratch scratch(ESP_RUN(device, reduce_scratch()), device);
  ESP_RUN(device, sum(loss.f32(), losses.f32(), 1.0f / static_cast<float>(n), n, scratch.data()));
  Variable mean = record({.op = "softmax_cross_entropy",
                          .attributes = {{"smoothing", static_cast<double>(smoothing)}},
                          .inputs = {logits},
                          .output = loss,
                          .channels = Channels::reduced,
                          .backward = [dlogits](const Tensor& dy, const Gradients& to) {
                            const auto dx = to.into(0);
                            ESP_RUN_REAL(dlogits, scale_by(dx.data<Real>(), dlogits.data<Real>(), dy.f32(),
                                                           dlogits.elements(), dx.accumulate));
                          }});
  return {std::move(mean), std::move(rank)};
}

// What is to know of it beside how it computes: graph/op.h

namespace {

/// Forward writes the gradient of a loss of 1 as well, which backward scales.
Calls loss_kernels(const KernelContext& op) {
  const Tensor logits = input_of(op, "logits", 1);
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

#include <algorithm>

#include "espalier/autograd/ops.h"
#include "espalier/autograd/ops/scratch.h"

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

}  // namespace espalier::ops

#include "espalier/graph/ops.h"

#include <algorithm>
#include <cmath>

#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/kernel_calls.h"
#include "espalier/graph/ops/operand.h"
#include "espalier/graph/ops/scratch.h"

namespace espalier::ops {
namespace {

/// The mean of `losses` [N], of logits whose gradient of that mean is `dlogits`; undefined: none is wanted.
Variable mean_loss(std::string_view op, Attributes attributes, const Variable& logits, const Tensor& losses,
                   const Tensor& dlogits) {
  const Device device = losses.device();
  const int64_t n = losses.elements();
  Tensor loss = Tensor::empty({}, DType::f32, device);
  Scratch scratch(ESP_RUN(device, reduce_scratch()), device);
  ESP_RUN(device, sum(loss.f32(), losses.f32(), 1.0f / static_cast<float>(n), n, scratch.data()));
  return record({.op = op,
                 .attributes = std::move(attributes),
                 .inputs = {logits},
                 .output = loss,
                 .channels = Channels::reduced,
                 .backward = [dlogits](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   ESP_RUN_REAL(dlogits, scale_by(dx.data<Real>(), dlogits.data<Real>(), dy.f32(),
                                                  dlogits.elements(), dx.accumulate));
                 }});
}

}  // namespace

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
  return {mean_loss("softmax_cross_entropy", {{"smoothing", static_cast<double>(smoothing)}}, logits, losses,
                    dlogits),
          std::move(rank)};
}

Variable softmax_kl_divergence(const Variable& logits, const Tensor& teacher, float temperature) {
  ESP_CHECK(logits.shape().axes() == 2 && logits.shape()[0] > 0,
            "kl_divergence: expects logits [N,classes], found ", logits.shape());
  ESP_CHECK(teacher.shape() == logits.shape(), "kl_divergence: logits have shape ", logits.shape(),
            ", the teacher's ", teacher.shape());
  check_dtype("kl_divergence", teacher, logits.value());
  ESP_CHECK(temperature > 0.0f && std::isfinite(temperature), "kl_divergence: temperature ", temperature,
            " is not above 0");
  const Device device = logits.value().device();
  ESP_CHECK(teacher.device() == device, "kl_divergence: logits are on ", device_name(device),
            ", the teacher's on ", device_name(teacher.device()));
  const int64_t n = logits.shape()[0], classes = logits.shape()[1];
  Tensor losses = Tensor::empty({n}, DType::f32, device);
  Tensor dlogits = needs_history({&logits}) ? logits.value().like(logits.shape()) : Tensor();
  ESP_RUN_REAL(logits.value(),
               softmax_kl_divergence(losses.f32(), dlogits.data<Real>(), logits.value().data<Real>(),
                                     teacher.data<Real>(), temperature, n, classes));
  return mean_loss("softmax_kl_divergence", {{"temperature", static_cast<double>(temperature)}}, logits,
                   losses, dlogits);
}

// What is to know of it beside how it computes: graph/op.h

namespace {

/// Forward, run(losses, dlogits), writes the gradient of a loss of 1 as well, which backward scales. It reads
/// `reads` times as many numbers as the logits are.
template <class Run>
Calls loss_calls(const KernelContext& op, const std::string& kernel, int64_t reads, const Run& run) {
  const Tensor logits = input_of(op, "logits", 1);
  const Device device = op.pass.device;
  const bool gradient = op.gradient("logits");
  Tensor one = Tensor::full({1}, 1.0f, device),
         losses = Tensor::empty({logits.shape()[0]}, DType::f32, device);
  Calls calls{{kernel, "", 0, traffic(logits, reads + (gradient ? 1 : 0)),
               [=, run = run, dlogits = gradient ? like(logits) : Tensor()]() mutable {
                 run(logits, losses.f32(), dlogits.f32());
               }}};
  if (gradient)
    calls.push_back({"scale_by", "", 0, traffic(logits, 2), [=, dx = like(logits)]() mutable {
                       ESP_RUN(device, scale_by(dx.f32(), logits.f32(), one.f32(), logits.elements(), false));
                     }});
  return calls;
}

Calls cross_entropy_kernels(const KernelContext& op) {
  const Device device = op.pass.device;
  const int64_t n = op.pass.batch;
  Tensor rank = Tensor::empty({n}, DType::i32, device), labels = Tensor::zeros({n}, DType::i32, device);
  return loss_calls(
      op, "softmax_cross_entropy", 1, [=](const Tensor& logits, float* losses, float* dlogits) mutable {
        ESP_RUN(device, softmax_cross_entropy(losses, dlogits, rank.data<int32_t>(), logits.f32(),
                                              labels.data<int32_t>(), 0.0f, n, logits.shape()[1]));
      });
}

Calls kl_divergence_kernels(const KernelContext& op) {
  const Device device = op.pass.device;
  const Tensor teacher = input_of(op, "logits", 2);
  const float temperature = op.call.real("temperature");
  return loss_calls(op, "softmax_kl_divergence", 2, [=](const Tensor& logits, float* losses, float* dlogits) {
    ESP_RUN(device, softmax_kl_divergence(losses, dlogits, logits.f32(), teacher.f32(), temperature,
                                          logits.shape()[0], logits.shape()[1]));
  });
}

}  // namespace

/// Labels and a teacher's logits are no values of a graph: losses have no `run`.
std::vector<Op> loss_rows() {
  return {{.name = "softmax_cross_entropy",
           .inputs = {{"logits"}},
           .attributes = {{"smoothing", 0.0}},
           .kernels = cross_entropy_kernels},
          {.name = "softmax_kl_divergence",
           .inputs = {{"logits"}},
           .attributes = {{"temperature", 1.0}},
           .kernels = kl_divergence_kernels}};
}

}  // namespace espalier::ops

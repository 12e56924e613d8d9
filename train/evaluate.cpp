#include "espalier/train/evaluate.h"

#include <algorithm>
#include <vector>

#include "espalier/core/compute_device.h"
#include "espalier/core/parallel.h"
#include "espalier/graph/ops.h"
#include "espalier/nn/inference.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/stopwatch.h"

namespace espalier {
namespace {

/// x [N,H,W,C] with its columns in reverse order.
Tensor mirrored(const Tensor& images) {
  const Tensor x = images.to(DType::f32).to(Device::cpu);
  const int64_t rows = x.shape()[0] * x.shape()[1], w = x.shape()[2], c = x.shape()[3];
  Tensor y = Tensor::empty(x.shape());
  const float* from = x.f32();
  float* to = y.f32();
  parallel_for(rows, std::max<int64_t>(1, 8192 / (w * c)), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t column = 0; column < w; ++column)
        std::copy_n(from + (row * w + column) * c, c, to + (row * w + w - 1 - column) * c);
  });
  return y.to(images.device()).to(images.dtype());
}

/// The place of the largest, and among equals of the first: where a loss's rank is 0.
int64_t prediction(const float* logits, int64_t classes) {
  return std::max_element(logits, logits + classes) - logits;
}

/// Where `model` is.
Variable one_image(const Shape& input, Module& model) {
  const Device device = device_of(model.parameters());
  return Variable(Tensor::full({1, input[0], input[1], input[2]}, 0.5f, device).to(activation_dtype(device)));
}

double forward_ms(Module& model, const Variable& x) {
  const Stopwatch watch;
  model.forward(x);
  synchronize(x.value().device());
  return watch.milliseconds();
}

}  // namespace

Variable logits_of(Module& model, const Tensor& images, bool flip) {
  const Variable logits = model.forward(Variable(images));
  if (!flip) return logits;
  return ops::scale(ops::add(logits, model.forward(Variable(mirrored(images)))), 0.5f);
}

Evaluation evaluate(Module& model, Loader& loader, const EvaluateOptions& options) {
  const Inference inference(model);
  Evaluation e;
  int64_t images = 0, first = 0, in_five = 0;
  loader.start_epoch(0);
  for (Batch batch; loader.next(batch);) {
    stop_if_interrupted();
    const Variable logits = logits_of(model, batch.images, options.flip);
    const LossValue result = options.loss.measure(logits, batch.labels);
    e.outputs = logits.shape()[1];
    e.confusion.resize(static_cast<size_t>(e.outputs * e.outputs));
    const Tensor ranks = result.rank.to(Device::cpu), labels = batch.labels.to(Device::cpu),
                 outputs = logits.value().to(DType::f32).to(Device::cpu);
    for (int64_t i = 0; i < batch.size; ++i) {
      const int32_t rank = ranks.data<int32_t>()[i], label = labels.data<int32_t>()[i];
      first += rank == 0;
      in_five += rank < 5;
      ++e.confusion[static_cast<size_t>(label * e.outputs +
                                        prediction(outputs.f32() + i * e.outputs, e.outputs))];
    }
    e.loss += result.loss.value().item() * static_cast<double>(batch.size);
    images += batch.size;
  }
  const double n = static_cast<double>(images);
  e.accuracy = 100.0 * static_cast<double>(first) / n;
  e.top5 = 100.0 * static_cast<double>(in_five) / n;
  e.loss /= n;
  return e;
}

double latency_ms(Module& model, const Shape& input) {
  const Inference inference(model);
  const Variable x = one_image(input, model);
  for (int i = 0; i < 3; ++i) model.forward(x);
  std::vector<double> times;
  for (const Stopwatch watch; times.size() < 5 || (times.size() < 1000 && watch.milliseconds() < 333);)
    times.push_back(forward_ms(model, x));
  return undisturbed(std::move(times));
}

PairedTimes latencies_ms(Module& first, Module& second, const Shape& input) {
  const Inference first_infers(first), second_infers(second);
  const Variable x = one_image(input, first);
  return paired([&] { return forward_ms(first, x); }, [&] { return forward_ms(second, x); }, 2 * 333);
}

}  // namespace espalier

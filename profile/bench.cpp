#include "espalier/profile/bench.h"

#include <algorithm>
#include <fstream>

#include "espalier/autograd/fixed_weights.h"
#include "espalier/core/compute_device.h"
#include "espalier/core/isa.h"
#include "espalier/core/parallel.h"
#include "espalier/core/random.h"
#include "espalier/nn/network.h"
#include "espalier/train/trainer.h"
#include "espalier/util/stopwatch.h"

namespace espalier {
namespace {

Batch random_batch(const BenchOptions& o, Device device) {
  const Shape& image = o.model.input;
  Batch batch{Tensor::empty({o.batch, image[0], image[1], image[2]}), Tensor::empty({o.batch}, DType::i32),
              o.batch};
  uint64_t i = 0;
  for (float& value : batch.images.span<float>()) value = random_uniform(1, i++);
  for (int32_t& label : batch.labels.span<int32_t>())
    label = static_cast<int32_t>(random_below(2, i++, o.model.classes));
  batch.images = batch.images.to(device).to(activation_dtype(device));
  batch.labels = batch.labels.to(device);
  return batch;
}

/// VmHWM: getrusage's figure would include the peak of the process that started this one.
int64_t peak_resident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;  // "VmHWM:    17316 kB"
  return 0;
}

template <class Step>
BenchResult measure(const BenchOptions& o, const char* mode, Module& model, const Step& step) {
  BenchResult result{.model = o.model.type,
                     .mode = mode,
                     .batch = o.batch,
                     .threads = threads(),
                     .isa = isa_name(isa()),
                     .device = device_name(device_of(model.parameters())),
                     .precision = precision_name(),
                     .card = card_text(),
                     .macs = Network(model, o.model.input).totals.macs,
                     .milliseconds = {}};
  // A card works on while the host asks for more: only of several steps together can be said how long they
  // take, or of one that is long beside the wait for it.
  constexpr double long_ms = 20;
  const Device device = device_of(model.parameters());
  int together = device == Device::cpu ? 1 : 10;
  const auto repeat = [&](double limit, size_t least) {
    result.milliseconds.clear();
    for (const Stopwatch watch; watch.seconds() < limit || result.milliseconds.size() < least;) {
      const Stopwatch some;
      for (int i = 0; i < together; ++i) step();
      synchronize(device);
      result.milliseconds.push_back(some.milliseconds() / together);
    }
  };
  repeat(o.seconds / 10, 2);
  if (result.milliseconds.back() > long_ms) together = 1;
  repeat(o.seconds, 3);
  std::sort(result.milliseconds.begin(), result.milliseconds.end());
  result.peak_memory_bytes = peak_resident();
  return result;
}

}  // namespace

OptimizerOptions bench_optimizer(const std::string& model) {
  if (model == "mlp" || model.starts_with("lenet")) return {.type = "adam", .lr = 1e-3};
  return {.type = "sgd", .lr = 1e-3, .momentum = 0.9, .weight_decay = 5e-4};
}

BenchResult bench_train(const BenchOptions& o, Module& model) {
  model.set_training(true);
  TrainConfig config;
  static_cast<OptimizerOptions&>(config.optimizer) = bench_optimizer(o.model.type);
  clear_optimizer_state(model.parameters());  // of a measurement before
  const auto optimizer = make_optimizer(config.optimizer, model.parameters());
  Position position;
  const std::string name = "bench";
  TrainState state{.stage = name,
                   .config = config,
                   .model = model,
                   .optimizer = *optimizer,
                   .position = position,
                   .epoch_steps = 1,
                   .total_steps = 1,
                   .lr = config.optimizer.lr};
  Trainer trainer(state, {});
  const Batch batch = random_batch(o, device_of(model.parameters()));
  return measure(o, "train", model, [&] { trainer.step(batch); });
}

BenchResult bench_infer(const BenchOptions& o, Module& model) {
  model.set_training(false);
  const NoGradient off;
  const FixedWeights fixed;
  const Variable images(random_batch(o, device_of(model.parameters())).images);
  return measure(o, "infer", model, [&] { model.forward(images); });
}

nlohmann::ordered_json to_json(const BenchResult& r) {
  const double images = 1e3 * static_cast<double>(r.batch);
  return {{"model", r.model},
          {"mode", r.mode},
          {"batch", r.batch},
          {"threads", r.threads},
          {"isa", r.isa},
          {"device", r.device},
          {"card", r.card},
          {"precision", r.precision},
          {"macs", r.macs},
          {"images_per_second", {{"median", images / r.median_ms()}, {"best", images / r.best_ms()}}},
          {"milliseconds", {{"median", r.median_ms()}, {"best", r.best_ms()}}},
          {"peak_memory_bytes", r.peak_memory_bytes}};
}

}  // namespace espalier

#include "espalier/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "espalier/autograd/ops.h"
#include "espalier/optim/clip.h"
#include "espalier/optim/ema.h"
#include "espalier/train/build.h"

namespace espalier {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Where a forward pass first goes wrong: "the output of fc2 (linear)".
std::string first_not_finite(Module& model, const Tensor& images) {
  const auto broken = [](const Tensor& t) {
    return t.dtype() == DType::f32 && ESP_RUN(t.device(), first_not_finite(t.f32(), t.elements())) >= 0;
  };
  if (broken(images)) return "the images";
  for (const Parameter* parameter : model.parameters())
    if (broken(parameter->value())) return parameter->name;
  Tape tape;
  NoGradient off;
  model.forward(Variable(images));
  for (const TapeEntry& entry : tape.entries) {
    if (!broken(tape.tensor(entry.output))) continue;
    for (int input : entry.inputs)
      if (const std::string& name = tape.values[input].parameter; !name.empty())
        return "the output of " + name.substr(0, name.rfind('.')) + " (" + entry.op + ")";
    return "the output of " + entry.op;
  }
  return "the loss itself";
}

}  // namespace

void Trainer::notify(void (Callback::*event)(TrainState&)) {
  for (Callback* callback : callbacks_) (callback->*event)(state_);
}

void Trainer::run(Loader& loader) {
  TrainState& s = state_;
  Position& at = s.position;
  notify(&Callback::on_stage_begin);
  while (!s.stop && (at.step < s.total_steps || at.batch > 0)) {
    loader.start_epoch(at.epoch);
    loader.seek(at.batch);
    s.epoch_seconds = s.wait_seconds = 0;
    for (Batch batch; at.step < s.total_steps;) {
      const double before = seconds_now();
      if (!loader.next(batch)) break;
      const double loaded = seconds_now();
      s.lr = learning_rate(s.config.schedule, s.config.optimizer.lr, at.step, s.total_steps, s.epoch_steps);
      step(batch);
      const double spent = seconds_now() - before;
      s.epoch_seconds += spent;
      s.wait_seconds += loaded - before;
      at.train_seconds += spent;
      at.trained_images += batch.size;
      ++at.step, ++at.batch;
      notify(&Callback::after_step);
    }
    notify(&Callback::on_epoch_end);
    ++at.epoch;
    at.batch = at.images = at.correct = 0;
    at.loss_sum = 0;
  }
}

void Trainer::step(const Batch& batch) {
  TrainState& s = state_;
  s.optimizer.clear_gradients();
  const Variable logits = s.model.forward(Variable(batch.images));
  const auto result =
      ops::softmax_cross_entropy(logits, batch.labels, static_cast<float>(s.config.label_smoothing));
  s.loss = result.loss.value().item();
  if (!std::isfinite(s.loss)) fail_not_finite(batch);
  result.loss.backward();
  notify(&Callback::after_backward);
  double factor = 1.0;
  if (s.config.optimizer.clip_norm > 0)
    factor = clip_factor(gradient_norm(s.optimizer.parameters()), s.config.optimizer.clip_norm);
  s.optimizer.step(s.lr, factor);
  if (s.config.ema > 0) update_average(s.optimizer.parameters(), s.config.ema);
  s.position.loss_sum += s.loss * static_cast<double>(batch.size);
  s.position.images += batch.size;
  s.position.correct += std::ranges::count(result.rank.span<int32_t>(), 0);
}

void Trainer::fail_not_finite(const Batch& batch) const {
  const Position& at = state_.position;
  fail("stage ", state_.stage, ": the loss is ", std::isnan(state_.loss) ? "nan" : "infinite", " at step ",
       at.step + 1, " (epoch ", at.epoch + 1, "), first seen in ",
       first_not_finite(state_.model, batch.images), "; ", state_.remedy());
}

}  // namespace espalier

#include "espalier/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "espalier/autograd/random_pass.h"
#include "espalier/core/compute_device.h"
#include "espalier/core/cuda_device.h"
#include "espalier/core/denormals.h"
#include "espalier/core/out_of_memory.h"
#include "espalier/core/random.h"
#include "espalier/graph/ops.h"
#include "espalier/graph/trace.h"
#include "espalier/nn/network.h"
#include "espalier/util/stopwatch.h"

namespace espalier {
namespace {

/// An op of a graph for a message: "layer1.0.conv1 (conv2d)".
std::string op_text(const GraphNode& node, const Graph& graph) {
  const std::string layer = graph.layer_of(node);
  return layer.empty() ? node.op : layer + " (" + node.op + ")";
}

/// Where a forward pass first goes wrong: "the output of fc2 (linear)".
std::string first_broken(Module& model, const Tensor& images) {
  const auto broken = [](const Tensor& t) { return is_real(t.dtype()) && first_not_finite(t) >= 0; };
  if (broken(images)) return "the images";
  for (const Parameter* parameter : model.parameters())
    if (broken(parameter->value())) return parameter->name;
  Trace trace;
  NoGradient off;
  model.forward(Variable(images));
  for (const GraphNode& node : trace.graph.nodes) {
    if (!broken(trace.tensor(node.output))) continue;
    return "the output of " + op_text(node, trace.graph);
  }
  return "the loss itself";
}

/// What a pass computes after its first `done` ops.
std::string op_behind(const Graph& graph, uint64_t done) {
  return done < graph.nodes.size() ? op_text(graph.nodes[done], graph) : "the loss";
}

/// What an image takes at most in a step: what ops put out, and the gradients on both sides of the largest.
double step_bytes(Module& model, const Shape& image, const Graph& graph) {
  int64_t largest = 0;
  for (const GraphNode& node : graph.nodes) largest = std::max(largest, graph.shape(node.output).elements());
  return activation_bytes(model, image) + 2.0 * sizeof(float) * static_cast<double>(largest);
}

}  // namespace

std::vector<Parameter*> Trainer::beside_model(TrainState& state) {
  std::vector<Parameter*> beside = state.optimizer.parameters();
  const auto own = state.model.parameters();
  std::erase_if(beside, [&](Parameter* parameter) { return std::ranges::count(own, parameter) > 0; });
  return beside;
}

void Trainer::check_names() const {
  std::set<std::string> names;
  for (const Callback* callback : callbacks_)
    if (!callback->name().empty() && !names.insert(callback->name()).second)
      fail_usage("stage '", state_.stage, "': two callbacks are called '", callback->name(),
                 "', under which a checkpoint keeps what one remembers");
}

void Trainer::notify(void (Callback::*event)(TrainState&)) {
  for (Callback* callback : callbacks_) (callback->*event)(state_);
}

void Trainer::restore() {
  const std::string place = (state_.saved.empty() ? "checkpoint" : state_.saved) + ": /callbacks/";
  for (Callback* callback : callbacks_)
    if (const auto found = state_.position.callbacks.find(callback->name());
        found != state_.position.callbacks.end())
      callback->restore(found->second, place + found->first);
}

void Trainer::remember() {
  for (Callback* callback : callbacks_) {
    if (callback->name().empty()) continue;
    auto state = callback->state(state_);
    if (state.is_null())
      state_.position.callbacks.erase(callback->name());
    else
      state_.position.callbacks[callback->name()] = std::move(state);
  }
}

void Trainer::run(Loader& loader) {
  const FlushDenormals fast;
  sure_ = state_.position.step;
  try {
    train(loader);
  } catch (const cuda::DeviceError& error) {  // it may be of any step that the host has not waited for
    fail("stage '", state_.stage, "': the card failed after step ", sure_, ", the last that is sure; step ",
         std::max(last_step_, sure_), " had been asked for: ", error.what(), "; ", state_.last_checkpoint());
  }
}

void Trainer::train(Loader& loader) {
  TrainState& s = state_;
  Position& at = s.position;
  restore();
  notify(&Callback::on_stage_begin);
  while (s.stop.empty() && (at.step < s.total_steps || at.batch > 0)) {
    loader.start_epoch((at.stage << 32) + at.epoch);  // orders and augmentations of each stage's own
    // An epoch's last step may be of fewer batches.
    loader.seek(std::min(at.batch * s.config.accumulate, loader.batches()));
    s.epoch_seconds = s.wait_seconds = 0;
    while (at.step < s.total_steps) {
      s.lr = learning_rate(s.config.schedule, s.config.optimizer.lr, at.step, s.total_steps, s.epoch_steps);
      if (const auto momentum = scheduled_momentum(s.config.schedule, at.step, s.total_steps))
        s.optimizer.set_momentum(*momentum);
      if (!step(loader)) break;
      ++at.step, ++at.batch;
      notify(&Callback::after_step);
    }
    settle();
    notify(&Callback::on_epoch_end);
    ++at.epoch;
    at.batch = at.images = at.correct = 0;
    at.loss_sum = 0;
  }
  notify(&Callback::on_stage_end);
}

bool Trainer::step(Loader& loader) {
  const FlushDenormals fast;
  TrainState& s = state_;
  const int64_t batches = s.config.accumulate, images = loader.images_ahead(batches);
  if (images == 0) return false;
  const Stopwatch watch;
  double waited = 0;
  const auto read = [&](Batch& batch, bool in_place) {
    const Stopwatch wait;
    loader.next(batch, in_place);
    waited += wait.seconds();
  };
  if (loader.device() != Device::cpu && images == batches * loader.batch()) {
    batches_.resize(static_cast<size_t>(batches));
    for (Batch& batch : batches_) read(batch, true);
    make_gradients(batches_, images);
  } else {
    clear_gradients();
    for (int64_t seen = 0; seen < images;) {
      Batch batch;
      read(batch, false);
      count(batch);
      add_gradients(batch, static_cast<double>(batch.size) / static_cast<double>(images));
      seen += batch.size;
    }
  }
  update();
  const double spent = watch.seconds();
  s.epoch_seconds += spent;
  s.wait_seconds += waited;
  s.position.train_seconds += spent;
  s.position.trained_images += images;
  return true;
}

void Trainer::step(const Batch& batch) {
  const FlushDenormals fast;
  make_gradients({&batch, 1}, batch.size);
  update();
}

/// Of batches of `images` in all.
void Trainer::make_gradients(std::span<const Batch> batches, int64_t images) {
  for (const Batch& batch : batches) count(batch);
  const auto passes = [&] {
    clear_gradients();
    for (const Batch& batch : batches)
      add_gradients(batch, static_cast<double>(batch.size) / static_cast<double>(images));
    return step_;
  };
  step_ = draws_ ? passes() : passes_.run(batches, passes);
}

void Trainer::clear_gradients() {
  state_.optimizer.clear_gradients();
  step_.clear();
}

/// On the host: that the batch is in the tally, where add_gradients is about to put it.
void Trainer::count(const Batch& batch) {
  TrainState& s = state_;
  if (!tally_.defined()) tally_ = Tensor::zeros({sizeof(Tally)}, DType::u8, batch.images.device());
  s.position.images += batch.size;
  images_ = batch.images;
  last_step_ = s.position.step + 1;
  if (unsettled_++ == 0) first_step_ = last_step_;
}

/// Adds `share` of the gradient of the batch's mean loss.
void Trainer::add_gradients(const Batch& batch, double share) {
  first_op_ = ops_recorded();
  try {
    pass(batch, share);
  } catch (const OutOfMemory& error) {
    fail_out_of_memory(error, batch.images, ops_recorded() - first_op_);
  }
}

void Trainer::pass(const Batch& batch, double share) {
  TrainState& s = state_;
  const Device device = batch.images.device();
  const auto memory = passes_.memory(device);
  const RandomPass random(random_key(random_key(random_key(s.random, static_cast<uint64_t>(s.position.stage)),
                                                static_cast<uint64_t>(s.position.step)),
                                     step_.size()));
  const auto network = [&](const Variable& images) {
    first_op_ = ops_recorded();
    return s.model.forward(images);
  };
  const LossValue result = s.loss_function.of_batch(network, batch);
  draws_ = random.drawn() > 0;
  const Tensor& loss = result.loss.value();
  ESP_RUN(device, add_to_tally(static_cast<Tally*>(tally_.raw()), loss.f32(), result.rank.data<int32_t>(),
                               batch.size));
  step_.push_back({loss, share});
  if (device == Device::cpu) settle();  // nothing has to be waited for
  result.loss.backward(Tensor::full({}, static_cast<float>(share), device));
}

void Trainer::settle() {
  if (unsettled_ == 0) return;
  TrainState& s = state_;
  const Stopwatch watch;
  const Tensor read = tally_.to(Device::cpu);
  if (tally_.device() != Device::cpu) {  // else no time has gone, and it has been counted
    const double waited = watch.seconds();
    s.epoch_seconds += waited;
    s.position.train_seconds += waited;
  }
  const auto& tally = *static_cast<const Tally*>(read.raw());
  s.loss = 0;
  for (const BatchLoss& batch : step_) s.loss += batch.share * batch.loss.item();
  if (!std::isfinite(tally.loss_sum)) fail_not_finite();
  s.position.loss_sum += tally.loss_sum;
  s.position.correct += tally.correct;
  ESP_RUN(tally_.device(), set_bytes(tally_.raw(), 0, tally_.bytes()));
  unsettled_ = 0;
  images_ = {};
  sure_ = s.position.step;
}

void Trainer::update() {
  TrainState& s = state_;
  notify(&Callback::after_backward);
  const bool moves = !std::exchange(s.leaves_out_update, false);
  if (moves) s.optimizer.step(s.lr, s.gradient_scale);
  s.gradient_scale = {};
  if (moves) notify(&Callback::after_update);
}

void Trainer::fail_out_of_memory(const OutOfMemory& error, const Tensor& images, uint64_t done) const {
  const Shape& all = images.shape();
  const Shape image{all[1], all[2], all[3]};
  std::string text = error.what();
  int64_t fits = 0;
  try {  // what the pass had is free again by now, and enough for one image
    const Network network(state_.model, image);
    if (error.by().empty()) text = error.asked_by(op_behind(network.graph, done)).what();
    double missing = 0;  // gradients that the step has not come to
    for (const Parameter* parameter : state_.model.parameters())
      if (parameter->learned() && !parameter->frozen() && !parameter->gradient().defined())
        missing += static_cast<double>(parameter->value().bytes());
    fits =
        static_cast<int64_t>((card_memory().left - missing) / step_bytes(state_.model, image, network.graph));
  } catch (const OutOfMemory&) {  // not even for that: the first message has to do
  }
  fail("stage '", state_.stage, "': ", text, "; ",
       fits > 0 && fits < all[0] ? join("a batch of about ", fits, " would fit, data.batch is ", all[0])
                                 : "a smaller data.batch may fit",
       "; ", state_.last_checkpoint());
}

void Trainer::fail_not_finite() const {
  const std::string earlier =
      first_step_ < last_step_ ? join(" or one of those from ", first_step_, " on") : "";
  fail("stage '", state_.stage, "': the loss is ", std::isnan(state_.loss) ? "nan" : "infinite", " at step ",
       last_step_, earlier, " (epoch ", (last_step_ - 1) / state_.epoch_steps + 1, "), first seen in ",
       first_broken(state_.model, images_), "; ", state_.remedy());
}

}  // namespace espalier

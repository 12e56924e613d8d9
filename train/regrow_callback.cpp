#include "espalier/train/regrow_callback.h"

#include <algorithm>
#include <typeinfo>

#include "espalier/core/random.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {

/// What top_kast's row declares; nothing of other methods.
std::optional<Explored> explored_by(const RegrowConfig& config) {
  const RegrowthInfo& method = regrowths().named(config.type);
  if (method.trains != Trains::explored) return std::nullopt;
  const ExtraOptions all = config.extra.with_defaults(method.extra, "regrow " + method.name);
  return Explored{all.number("backward_sparsity"), all.number("weight_decay")};
}

/// Those of these that are weights of convolutions and linear layers and learn.
std::vector<Parameter*> weights_among(std::vector<Parameter*> parameters) {
  std::erase_if(parameters, [](const Parameter* p) { return p->role != Role::weight || p->frozen(); });
  return parameters;
}

/// Of a stage that goes on: a check that fails with the checkpoint's place.
template <class Check>
void check_state(const TrainState& s, const Check& check) {
  try {
    check();
  } catch (const Error& error) {
    fail(s.saved.empty() ? "checkpoint" : s.saved, ": ", error.what());
  }
}

/// A stream of a run's for each step.
uint64_t step_key(const TrainState& s, int64_t step) {
  constexpr uint64_t of_regrowth = 0x7265'67726F77;
  return random_key(random_key(random_key(s.random, of_regrowth), static_cast<uint64_t>(s.position.stage)),
                    static_cast<uint64_t>(step));
}

}  // namespace

RegrowSchedule regrow_schedule(const RegrowConfig& c, const StageLength& stage) {
  const RegrowthInfo& method = regrowths().named(c.type);
  const TimeUnit unit = time_unit_named(c.in);
  const char* const whose = "train.regrow";
  RegrowSchedule schedule{
      .begin = stage.step_at(c.begin, unit, whose),
      .end = c.end ? stage.step_at(*c.end, unit, whose) : stage.step_at(method.end, TimeUnit::share, whose),
      .share = c.share,
      .min_share = c.min_share,
      .anneal = c.anneal};
  schedule.every = c.every ? std::max<int64_t>(1, stage.in_steps(*c.every, unit)) : method.every;
  check(schedule);
  return schedule;
}

// --- What moves masks ---

RegrowCallback::RegrowCallback(const RegrowConfig& config)
    : config_(config), method_(regrowths().named(config.type)), explored_(explored_by(config)) {}

void RegrowCallback::on_stage_begin(TrainState& s) {
  if (!keeps_average()) return;
  const auto weights = learning_weights(s.model);
  if (s.position.step > 0) return check_state(s, [&] { check_gradient_average(weights); });
  drop_unmasked(weights);
  add_state(weights);
}

void RegrowCallback::add_state(const std::vector<Parameter*>& parameters) const {
  if (keeps_average()) start_gradient_average(weights_among(parameters));
}

bool RegrowCallback::acts_at(const TrainState& s, int64_t step) {
  if (!schedule_) schedule_ = regrow_schedule(config_, {s.epoch_steps, s.total_steps});
  return schedule_->acts_at(step) && (method_.trains != Trains::active || schedule_->share_at(step) > 0);
}

void RegrowCallback::after_backward(TrainState& s) {
  if (keeps_average()) update_gradient_average(s.optimizer.parameters(), config_.momentum);
  gradients_.clear();
  if (method_.trains != Trains::active || !acts_at(s, s.position.step)) return;
  for (const Parameter* weight : learning_weights(s.model)) {
    if (!weight->gradient().defined()) continue;
    if (method_.needs == GrowNeeds::gradient) gradients_[weight] = weight->gradient();
    if (weight->mask.defined() && method_.replaces_update) s.leaves_out_update = true;
  }
}

std::vector<RegrowLayer> RegrowCallback::layers(Module& model) const {
  std::vector<RegrowLayer> layers;
  for (Parameter* weight : learning_weights(model)) {
    if (!weight->mask.defined()) continue;
    const auto gradient = gradients_.find(weight);
    const bool lacks = method_.needs == GrowNeeds::gradient && gradient == gradients_.end();
    if (!lacks) layers.push_back({weight, gradient == gradients_.end() ? Tensor() : gradient->second});
  }
  return layers;
}

void RegrowCallback::after_step(TrainState& s) {
  s.regrown.reset();
  const int64_t step = s.position.step - 1;
  if (!acts_at(s, step)) return;
  Regrown moved;
  try {
    moved = method_.trains == Trains::active
                ? regrow(layers(s.model), method_, schedule_->share_at(step), step_key(s, step))
                : choose_masks(learning_weights(s.model), explored_);
  } catch (const Error& error) {
    if (typeid(error) != typeid(Error)) throw;  // a card's failure has a story of its own
    fail("stage '", s.stage, "', step ", s.position.step, ": ", error.what(), "; ", s.remedy());
  }
  gradients_.clear();
  if (moved.layers.empty()) return;
  s.regrown = RegrowEvent{.type = method_.name, .every = schedule_->every, .moved = std::move(moved)};
}

void RegrowCallback::on_stage_end(TrainState& s) { drop_unmasked(learning_weights(s.model)); }

// --- What has values follow ---

StraightThroughCallback::StraightThroughCallback(const RegrowConfig& config)
    : explored_(explored_by(config)) {}

void StraightThroughCallback::on_stage_begin(TrainState& s) {
  const auto weights = learning_weights(s.model);
  if (s.position.step > 0) return check_state(s, [&] { check_unmasked(weights); });
  add_state(weights);
  if (explored_) choose_masks(weights, explored_);
}

void StraightThroughCallback::add_state(const std::vector<Parameter*>& parameters) const {
  const auto weights = weights_among(parameters);
  start_unmasked(weights);
  if (explored_) start_reach(weights);
}

void StraightThroughCallback::after_backward(TrainState& s) {
  if (explored_) keep_reached_gradients(s.optimizer.parameters());
}

void StraightThroughCallback::after_update(TrainState& s) {
  if (explored_) decay_reached(s.optimizer.parameters(), s.lr * explored_->weight_decay);
  follow_unmasked(s.optimizer.parameters());
}

void StraightThroughCallback::on_stage_end(TrainState& s) { drop_unmasked(learning_weights(s.model)); }

std::unique_ptr<Callback> straight_through_callback(const TrainConfig& config) {
  if (!config.regrow || regrowths().named(config.regrow->type).trains == Trains::active) return nullptr;
  return std::make_unique<StraightThroughCallback>(*config.regrow);
}

}  // namespace espalier

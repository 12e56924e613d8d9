#include "espalier/train/callbacks.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "espalier/config/json.h"
#include "espalier/core/kernels.h"
#include "espalier/optim/clip.h"
#include "espalier/optim/ema.h"
#include "espalier/train/regrow_callback.h"
#include "espalier/util/error.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/table.h"

namespace espalier {

namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Judgement& judgement) {
  return {{"best_accuracy", judgement.best_accuracy},
          {"best_epoch", judgement.best_epoch},
          {"accuracy_to_beat", judgement.accuracy_to_beat},
          {"stale", judgement.stale}};
}

Judgement judgement_from(const Json& json, const std::string& place) {
  return {.best_accuracy = json_field<double>(json, "best_accuracy", place),
          .best_epoch = json_count(json, "best_epoch", place),
          .accuracy_to_beat = json_field<double>(json, "accuracy_to_beat", place),
          .stale = json_count(json, "stale", place)};
}

}  // namespace

void RegularizeCallback::after_backward(TrainState& s) { penalty_->add_gradients(s.position.step); }

void RegularizeCallback::after_update(TrainState& s) {
  penalty_->after_update([&](const Parameter& parameter) { return s.lr * s.optimizer.factor_of(parameter); });
}

Json RegularizeCallback::state(const TrainState&) {
  Json state = {{"chosen", Json::object()}};  // which versions before look for, whatever the penalty is
  if (const Json own = penalty_->state(); own.is_object()) state.update(own);
  return state;
}

void RegularizeCallback::restore(const Json& state, const std::string& place) {
  penalty_->restore(state, place);
}

void ClipCallback::after_backward(TrainState& s) {
  s.gradient_scale = clip_factor(s.optimizer.parameters(), norm_);
}

void AverageCallback::on_stage_begin(TrainState& s) {
  if (s.position.step == 0) add_state(s.optimizer.parameters());
}

void AverageCallback::after_update(TrainState& s) { update_average(s.optimizer.parameters(), decay_); }

void AverageCallback::on_stage_end(TrainState& s) { adopt_average(s.optimizer.parameters()); }

void AverageCallback::add_state(const std::vector<Parameter*>& parameters) const {
  start_average(parameters);
}

Registry<CallbackInfo>& callbacks() {
  static Registry<CallbackInfo> all("callback", {});
  return all;
}

std::vector<std::unique_ptr<Callback>> named_callbacks(const TrainConfig& config) {
  std::vector<std::unique_ptr<Callback>> named;
  for (const CallbackConfig& one : config.callbacks) {
    const CallbackInfo& info = callbacks().named(one.type);
    named.push_back(info.make(one.extra.with_defaults(info.extra, "callback " + info.name)));
    for (const char* taken : {"distill", "evaluate", "metrics", "prune", "regularize"})
      if (named.back()->name() == taken)
        fail_usage("callback ", info.name, ": its state is called '", taken,
                   "', as that of one of Espalier's");
  }
  return named;
}

std::vector<std::unique_ptr<Callback>> step_callbacks(const TrainConfig& config) {
  std::vector<std::unique_ptr<Callback>> all;
  if (auto follows = straight_through_callback(config)) all.push_back(std::move(follows));
  if (config.ema > 0) all.push_back(std::make_unique<AverageCallback>(config.ema));
  if (config.regrow) all.push_back(std::make_unique<RegrowCallback>(*config.regrow));
  std::ranges::move(named_callbacks(config), std::back_inserter(all));
  if (const double norm = config.optimizer.clip_norm; norm > 0)
    all.push_back(std::make_unique<ClipCallback>(norm));
  return all;
}

void EvaluateCallback::on_epoch_end(TrainState& s) {
  s.test.reset();
  s.validation.reset();
  const bool last = s.position.step >= s.total_steps;
  if (!last && (s.position.epoch + 1) % s.config.eval_every != 0) return;
  const AverageInPlace average(s.optimizer.parameters());
  s.test = evaluate(s.model, test_, {.loss = s.loss_function});
  if (!validation_) return;
  s.validation = evaluate(s.model, *validation_, {.loss = s.loss_function});
  judge(s);
}

void EvaluateCallback::judge(TrainState& s) {
  // While a schedule still prunes, an epoch is better only for being less sparse.
  if (s.pruning && s.position.step <= s.pruning->last()) return;
  Judgement& at = judgement_;
  const double accuracy = s.validation->accuracy;
  if (accuracy > at.best_accuracy) {
    at.best_accuracy = accuracy;
    at.best_epoch = s.position.epoch + 1;
    save_best_();
  }
  if (!s.config.early_stop) return;
  if (accuracy > at.accuracy_to_beat) {
    at.accuracy_to_beat = accuracy + s.config.early_stop->min_delta;
    at.stale = 0;
  } else if (++at.stale >= s.config.early_stop->patience) {
    s.stop =
        fmt::format("{} {} did no better than {:.2f} %; the best, {:.2f} %, was epoch {}", at.stale,
                    plural(at.stale, "evaluation"), at.accuracy_to_beat, at.best_accuracy, at.best_epoch);
  }
}

Json EvaluateCallback::state(const TrainState&) { return to_json(judgement_); }

void EvaluateCallback::restore(const Json& state, const std::string& place) {
  judgement_ = judgement_from(state, place);
}

Judgement Judgement::in(const Position& position) {
  const auto found = position.callbacks.find("evaluate");
  return found == position.callbacks.end() ? Judgement{}
                                           : judgement_from(found->second, "checkpoint: /callbacks/evaluate");
}

void Judgement::put_into(Position& position) const { position.callbacks["evaluate"] = to_json(*this); }

void SaveCallback::on_stage_begin(TrainState&) { last_ = std::chrono::steady_clock::now(); }

void SaveCallback::after_step(TrainState& s) {
  const auto now = std::chrono::steady_clock::now();
  const bool epoch_over = s.position.batch == s.epoch_steps || s.position.step == s.total_steps;
  const bool due = s.config.checkpoint_every > 0 &&
                   std::chrono::duration<double>(now - last_).count() >= s.config.checkpoint_every;
  if (!epoch_over && !due && !interrupt_signal()) return;
  s.settle();
  // The loss was finite before this step's update; what the update did must be, too, or a broken state would
  // take the place of the last good one.
  for (const Parameter* parameter : s.optimizer.parameters()) {
    const Tensor& value = parameter->value();
    ESP_CHECK(first_not_finite(value) < 0, "stage '", s.stage, "': ", parameter->name,
              " is not finite after step ", s.position.step, " (epoch ", s.position.epoch + 1, "); ",
              s.remedy());
  }
  s.position.optimizer_steps = s.optimizer.steps();
  s.remember();
  save_();
  s.saved = fmt::format("{} (step {})", place_, s.position.step);
  last_ = now;
  stop_if_interrupted();
}

}  // namespace espalier

#include "espalier/run/progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "espalier/core/starvation.h"
#include "espalier/run/pruning.h"
#include "espalier/util/table.h"
#include "espalier/util/terminal.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

std::string bar(double share) {
  constexpr int width = 10;
  const int full = static_cast<int>(share * width);
  return std::string(static_cast<size_t>(full), '#') + std::string(static_cast<size_t>(width - full), '.');
}

/// What the stage's pruner changes, from the epoch of its first act to that of its last; nothing elsewhere.
std::vector<std::string> pruning_field(const TrainState& s) {
  if (!s.pruning) return {};
  const int64_t epoch = (s.position.step - 1) / s.epoch_steps;
  if (epoch < s.pruning->begin / s.epoch_steps || epoch > s.pruning->last() / s.epoch_steps) return {};
  return {cuts_channels(*s.config.prune) ? "MACs " + grouped(s.macs)
                                         : fmt::format("sparsity {:.2f} %", 100 * s.sparsity)};
}

/// `fields`, of which a narrow terminal drops the last: in a line of `width` columns one reads first what the
/// epoch was evaluated to, up to the field before `end`, so that the training's own go before it.
std::string fitted_evaluation(std::vector<std::string> fields, size_t end, size_t width) {
  constexpr size_t first_of_training = 2, training = 2;  // loss and accuracy
  for (size_t gone = 0; gone < training; ++gone, --end) {
    const std::vector<std::string> needed(fields.begin(), fields.begin() + static_cast<std::ptrdiff_t>(end));
    if (fitted(needed, width) == fitted(needed, any_width)) break;
    fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(first_of_training + training - 1 - gone));
  }
  return fitted(fields, width);
}

/// What both lines begin with; the most telling first, as a narrow terminal drops the last.
std::vector<std::string> epoch_fields(const TrainState& s) {
  const Position& at = s.position;
  const double images = static_cast<double>(at.images);
  return {printable(s.stage), fmt::format("epoch {}/{}", at.epoch + 1, s.epochs()),
          fmt::format("loss {:.4f}", at.loss_sum / images),
          fmt::format("train {:.2f} %", 100.0 * static_cast<double>(at.correct) / images)};
}

}  // namespace

void warn_of_starvation(Console& console) {
  if (const std::string warning = new_starvation_warning(); !warning.empty()) console.warn(warning);
}

void ProgressCallback::on_stage_begin(TrainState& s) {
  first_image_ = s.position.images;
  asked_ = std::chrono::steady_clock::now();
}

void ProgressCallback::after_step(TrainState& s) {
  if (s.regrown && !moved_) {
    moved_ = true;
    const Regrown::Layer all = s.regrown->moved.total();
    console_.line(fmt::format("{}  step {}  {} moves {} of {} active weights", s.stage, s.position.step,
                              s.regrown->type, grouped(all.grown), grouped(all.active)));
  }
  const auto now = std::chrono::steady_clock::now();
  if (now - asked_ > std::chrono::seconds(10)) {
    asked_ = now;
    warn_of_starvation(console_);
  }
  if (!console_.is_live()) return;
  if (now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  s.settle();
  const Position& at = s.position;
  const double rate = static_cast<double>(at.images - first_image_) / s.epoch_seconds;
  const double images = static_cast<double>(at.images);
  const int64_t steps_here = std::min(s.epoch_steps, s.total_steps - at.epoch * s.epoch_steps);
  const double left =
      static_cast<double>(s.total_steps - at.step) * images / static_cast<double>(at.batch) / rate;
  auto fields = epoch_fields(s);
  fields.insert(fields.begin() + 2,
                {"[" + bar(static_cast<double>(at.batch) / static_cast<double>(steps_here)) + "]",
                 duration_text(left) + " left"});
  std::ranges::move(pruning_field(s), std::back_inserter(fields));
  fields.push_back(grouped(static_cast<int64_t>(rate)) + " images/s");
  console_.live(fields);
}

void ProgressCallback::on_epoch_end(TrainState& s) {
  const double images = static_cast<double>(s.position.images);
  auto fields = epoch_fields(s);
  if (s.validation) fields.push_back(fmt::format("validation {:.2f} %", s.validation->accuracy));
  if (s.test) fields.push_back(fmt::format("test {:.2f} %", s.test->accuracy));
  const size_t evaluated = fields.size();
  std::ranges::move(pruning_field(s), std::back_inserter(fields));
  if (s.epoch_seconds > 0) {
    const double trained = images - static_cast<double>(first_image_);
    fields.push_back(grouped(static_cast<int64_t>(trained / s.epoch_seconds)) + " images/s");
    fields.push_back(fmt::format("data wait {:.1f} %", 100.0 * s.wait_seconds / s.epoch_seconds));
  }
  console_.lines([&](size_t width) { return fitted_evaluation(fields, evaluated, width); });
  warn_of_starvation(console_);
  if (!s.stop.empty()) console_.line(fmt::format("{}  stops early: {}", s.stage, s.stop));
  first_image_ = 0;
}

}  // namespace espalier

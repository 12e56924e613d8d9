#include "espalier/train/progress.h"

#include <fmt/format.h>

#include "espalier/core/starvation.h"
#include "espalier/core/table.h"
#include "espalier/train/build.h"

namespace espalier {
namespace {

std::string bar(double share) {
  constexpr int width = 10;
  const int full = static_cast<int>(share * width);
  return std::string(static_cast<size_t>(full), '#') + std::string(static_cast<size_t>(width - full), '.');
}

/// What the stage's pruner changes, from the epoch of its first act to that of its last.
std::string pruning_text(const TrainState& s) {
  if (!s.pruning) return "";
  const int64_t epoch = (s.position.step - 1) / s.epoch_steps;
  if (epoch < s.pruning->begin / s.epoch_steps || epoch > s.pruning->last() / s.epoch_steps) return "";
  return cuts_channels(*s.config.prune) ? "  MACs " + grouped(s.macs)
                                        : fmt::format("  sparsity {:.2f} %", 100 * s.sparsity);
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
  const auto now = std::chrono::steady_clock::now();
  if (now - asked_ > std::chrono::seconds(10)) {
    asked_ = now;
    warn_of_starvation(console_);
  }
  if (!console_.is_live()) return;
  if (now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  const Position& at = s.position;
  const double rate = static_cast<double>(at.images - first_image_) / s.epoch_seconds;
  const double images = static_cast<double>(at.images);
  const int64_t steps_here = std::min(s.epoch_steps, s.total_steps - at.epoch * s.epoch_steps);
  const double left =
      static_cast<double>(s.total_steps - at.step) * images / static_cast<double>(at.batch) / rate;
  console_.live(fmt::format(
      "{}  epoch {}/{}  [{}]  {} left  loss {:.4f}  train {:.2f} %{}  {} images/s", s.stage, at.epoch + 1,
      s.epochs(), bar(static_cast<double>(at.batch) / static_cast<double>(steps_here)), duration_text(left),
      at.loss_sum / images, 100.0 * static_cast<double>(at.correct) / images, pruning_text(s),
      grouped(static_cast<int64_t>(rate))));
}

void ProgressCallback::on_epoch_end(TrainState& s) {
  const Position& at = s.position;
  const double images = static_cast<double>(at.images);
  std::string line =
      fmt::format("{}  epoch {}/{}  loss {:.4f}  train {:.2f} %", s.stage, at.epoch + 1, s.epochs(),
                  at.loss_sum / images, 100.0 * static_cast<double>(at.correct) / images);
  if (s.validation) line += fmt::format("  validation {:.2f} %", s.validation->accuracy);
  if (s.test) line += fmt::format("  test {:.2f} %", s.test->accuracy);
  line += pruning_text(s);
  if (s.epoch_seconds > 0)
    line += fmt::format(
        "  {} images/s  data wait {:.1f} %",
        grouped(static_cast<int64_t>((images - static_cast<double>(first_image_)) / s.epoch_seconds)),
        100.0 * s.wait_seconds / s.epoch_seconds);
  console_.line(line);
  warn_of_starvation(console_);
  if (!s.stop.empty()) console_.line(fmt::format("{}  stops early: {}", s.stage, s.stop));
  first_image_ = 0;
}

}  // namespace espalier

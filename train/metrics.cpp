#include "espalier/train/metrics.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "espalier/config/json.h"
#include "espalier/util/input_file.h"

namespace espalier {

int64_t rows_left(const std::filesystem::path& path, int64_t bytes) {
  if (bytes == 0 || !std::filesystem::exists(path)) return 0;
  const InputFile file(path);
  uint64_t end = file.size();
  if (end >= static_cast<uint64_t>(bytes)) return bytes;
  std::array<char, 4096> block{};
  while (end > 0) {  // the last line's end, searched from the end
    const uint64_t begin = end - std::min<uint64_t>(end, block.size());
    const std::string_view text(block.data(), end - begin);
    file.read(block.data(), text.size(), begin);
    if (const size_t at = text.rfind('\n'); at != text.npos) return static_cast<int64_t>(begin + at + 1);
    end = begin;
  }
  return 0;
}

MetricsFile::MetricsFile(std::filesystem::path file, int64_t keep, std::function<double()> seconds)
    : path_(std::move(file)), bytes_(keep), seconds_(std::move(seconds)) {
  check_regular(path_);
  file_.reset(std::fopen(path_.c_str(), keep ? "r+" : "w"));
  if (!file_) fail_errno(path_, "cannot be written");
  if (std::fseek(file_.get(), 0, SEEK_END) != 0) fail_errno(path_, "cannot be read");
  ESP_CHECK(std::ftell(file_.get()) >= keep, path_.string(), ": is shorter than the ", keep,
            " bytes that are to be kept");
  if (ftruncate(fileno(file_.get()), keep) != 0) fail_errno(path_, "cannot be cut");
  std::fseek(file_.get(), keep, SEEK_SET);
}

void MetricsFile::write(nlohmann::ordered_json row) {
  row["seconds"] = std::round(1e3 * seconds_()) / 1e3;
  const std::string line = row.dump() + "\n";
  if (std::fwrite(line.data(), 1, line.size(), file_.get()) != line.size() || std::fflush(file_.get()) != 0)
    fail_errno(path_, "cannot be written");
  bytes_ += static_cast<int64_t>(line.size());
}

int64_t MetricsFile::sync() {
  if (fsync(fileno(file_.get())) != 0) fail_errno(path_, "cannot be synced");
  return bytes_;
}

namespace {

using Json = nlohmann::ordered_json;

Json row_at(const RowTime& time) {
  return {{"stage", time.stage}, {"epoch", time.epoch}, {"step", time.step}, {"total_step", time.total_step}};
}

/// That of the step that is done last, whose epoch may be over.
RowTime time_of(const TrainState& s) {
  const Position& at = s.position;
  return {s.stage, (at.step - 1) / s.epoch_steps + 1, at.step, at.steps_before.value_or(0) + at.step};
}

void add_test(Json& row, const Evaluation& test) {
  row["accuracy"] = test.accuracy;
  row["top5"] = test.top5;
  row["test_loss"] = test.loss;
}

}  // namespace

Json prune_row(const RowTime& time, const PruneEvent& event) {
  Json row = row_at(time);
  row["prune"] = to_json(event);
  row["sparsity"] = sparsity_of(event.layers_after);
  row["macs"] = event.macs_after;
  return row;
}

Json regrow_row(const RowTime& time, const RegrowEvent& event, double sparsity, int64_t macs) {
  Json row = row_at(time);
  row["regrow"] = to_json(event);
  row["sparsity"] = sparsity;
  row["macs"] = macs;
  return row;
}

Json evaluation_row(const RowTime& time, const Evaluation& test, double sparsity, int64_t macs) {
  Json row = row_at(time);
  add_test(row, test);
  row["sparsity"] = sparsity;
  row["macs"] = macs;
  return row;
}

void MetricsCallback::count(TrainState& s) {
  s.sparsity = sparsity_of(layer_sizes(s.model));
  counted_ = true;
}

Json MetricsCallback::state(const TrainState& s) {
  return counted_ ? Json{{"sparsity", s.sparsity}} : Json();
}

void MetricsCallback::restore(const Json& state, const std::string& place) {
  restored_ = json_field<double>(state, "sparsity", place);
  ESP_CHECK(*restored_ >= 0 && *restored_ <= 1, place, "/sparsity: is ", *restored_, ", not in 0..1");
}

void MetricsCallback::on_stage_begin(TrainState& s) {
  // What is counted here is for whoever shows it before the first row; the row's own is counted for it.
  counted_ = restored_.has_value();
  s.sparsity = counted_ ? *std::exchange(restored_, std::nullopt) : sparsity_of(layer_sizes(s.model));
}

void MetricsCallback::after_step(TrainState& s) {
  if (s.pruned) {
    s.sparsity = sparsity_of(s.pruned->layers_after);
    counted_ = true;
    file_.write(prune_row(time_of(s), *s.pruned));
  }
  const bool logs = s.position.step % s.config.log_every == 0;
  const bool moved = s.regrown && (logs || s.regrown->every >= s.config.log_every);
  if (!moved && !logs) return;
  if (!counted_) count(s);
  if (moved) file_.write(regrow_row(time_of(s), *s.regrown, s.sparsity, s.macs));
  if (!logs) return;
  s.settle();
  Json row = row_at(time_of(s));
  row["loss"] = s.loss;
  row["lr"] = s.lr;
  row["sparsity"] = s.sparsity;
  row["macs"] = s.macs;
  file_.write(std::move(row));
}

void MetricsCallback::on_epoch_end(TrainState& s) {
  count(s);
  if (!s.test) return;
  const Position& at = s.position;
  const double images = static_cast<double>(at.images);
  Json row = row_at(time_of(s));
  add_test(row, *s.test);
  row["train_loss"] = at.loss_sum / images;
  row["train_accuracy"] = 100.0 * static_cast<double>(at.correct) / images;
  row["data_seconds"] = s.wait_seconds;
  if (s.validation) {
    row["validation_accuracy"] = s.validation->accuracy;
    row["validation_loss"] = s.validation->loss;
  }
  row["sparsity"] = s.sparsity;
  row["macs"] = s.macs;
  file_.write(std::move(row));
}

}  // namespace espalier

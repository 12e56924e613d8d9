#include "espalier/train/metrics.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "espalier/formats/input_file.h"

namespace espalier {

int64_t rows_left(const std::filesystem::path& path, int64_t bytes) {
  if (bytes == 0 || !std::filesystem::exists(path)) return 0;
  const InputFile file(path);
  uint64_t end = file.size();
  if (end >= static_cast<uint64_t>(bytes)) return bytes;
  std::array<char, 4096> block{};
  while (end > 0) {  // the last line's end, sought from behind
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

nlohmann::ordered_json prune_row(const std::string& stage, int64_t epoch, int64_t step,
                                 const PruneEvent& event) {
  return {{"stage", stage},
          {"epoch", epoch},
          {"step", step},
          {"prune", to_json(event)},
          {"sparsity", sparsity_of(event.layers_after)},
          {"macs", event.macs_after}};
}

void MetricsCallback::count(TrainState& s) {
  s.sparsity = sparsity_of(layer_sizes(s.model));
  counted_ = true;
}

void MetricsCallback::on_stage_begin(TrainState& s) {
  count(s);          // for whoever shows it before the first row,
  counted_ = false;  // for which zeros that no mask holds may have moved
}

void MetricsCallback::after_step(TrainState& s) {
  const int64_t epoch = (s.position.step - 1) / s.epoch_steps + 1;
  if (s.pruned) {
    s.sparsity = sparsity_of(s.pruned->layers_after);
    counted_ = true;
    file_.write(prune_row(s.stage, epoch, s.position.step, *s.pruned));
  }
  if (s.position.step % s.config.log_every != 0) return;
  if (!counted_) count(s);
  s.settle();
  file_.write({{"stage", s.stage},
               {"epoch", epoch},
               {"step", s.position.step},
               {"loss", s.loss},
               {"lr", s.lr},
               {"sparsity", s.sparsity},
               {"macs", s.macs}});
}

void MetricsCallback::on_epoch_end(TrainState& s) {
  count(s);
  if (!s.test) return;
  const Position& at = s.position;
  const double images = static_cast<double>(at.images);
  nlohmann::ordered_json row{{"stage", s.stage},
                             {"epoch", at.epoch + 1},
                             {"step", at.step},
                             {"accuracy", s.test->accuracy},
                             {"top5", s.test->top5},
                             {"test_loss", s.test->loss},
                             {"train_loss", at.loss_sum / images},
                             {"train_accuracy", 100.0 * static_cast<double>(at.correct) / images},
                             {"data_seconds", s.wait_seconds}};
  if (s.validation) {
    row["validation_accuracy"] = s.validation->accuracy;
    row["validation_loss"] = s.validation->loss;
  }
  row["sparsity"] = s.sparsity;
  row["macs"] = s.macs;
  file_.write(std::move(row));
}

}  // namespace espalier

// Progress: on a terminal a live line, redrawn a few times a second; everywhere one plain line an epoch.
#pragma once

#include <chrono>

#include "espalier/run/console.h"
#include "espalier/train/callback.h"

namespace espalier {

/// Says, once, that threads wait for each other longer than they compute (core/starvation.h).
void warn_of_starvation(Console& console);

class ProgressCallback : public Callback {
 public:
  explicit ProgressCallback(Console& console) : console_(console) {}
  void on_stage_begin(TrainState& state) override;
  void after_step(TrainState& state) override;
  void on_epoch_end(TrainState& state) override;

 private:
  Console& console_;
  bool moved_ = false;       // masks have, which is said once
  int64_t first_image_ = 0;  // of this epoch, when this process came to it
  std::chrono::steady_clock::time_point drawn_, asked_;
};

}  // namespace espalier

// Batch normalisation (Ioffe and Szegedy 2015), as PyTorch's BatchNorm2d.
#pragma once

#include <vector>

#include "espalier/graph/ops.h"
#include "espalier/nn/module.h"

namespace espalier {

/// y = f((x - mean) / sqrt(variance + eps) weight + bias + residual), x [N,H,W,C] or [N,C]. Parameters
/// weight, bias; buffers running_mean, running_var [C] and num_batches_tracked i64 [],
/// which the host counts, on whatever device the rest is.
class BatchNorm2d : public Module {
 public:
  explicit BatchNorm2d(int64_t channels, float eps = 1e-5f, float momentum = 0.1f);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "batch_norm"; }
  std::vector<ChannelAxes> channel_axes() const override {
    return {{"weight", 0, 0}, {"bias", 0, 0}, {"running_mean", 0, 0}, {"running_var", 0, 0}};
  }
  /// The op's arguments, for a pass in this module's mode; counts the batch if it is training.
  ops::BatchNorm begin_pass();
  /// Counts the batch if it is training; how far it moves the running statistics.
  float begin_batch();
  /// Forgets the running statistics; from here on they are the plain mean of those of all batches since
  /// (PyTorch's momentum=None).
  void begin_cumulative_statistics();
  /// From here on each batch moves them by `momentum` again.
  void end_cumulative_statistics() { cumulative_ = false; }

 private:
  Parameter &weight_, &bias_, &running_mean_, &running_var_, &num_batches_tracked_;
  float eps_, momentum_;
  bool cumulative_ = false;
};

/// The batch norms of `model`.
std::vector<BatchNorm2d*> batch_norms(Module& model);

}  // namespace espalier

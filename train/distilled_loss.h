// Knowledge distillation (Hinton, Vinyals and Dean 2015): a network learns from its labels, and from what a
// teacher makes of the same images.
#pragma once

#include <string>
#include <vector>

#include "espalier/train/feature_maps.h"
#include "espalier/train/loss.h"
#include "espalier/train/teacher.h"
#include "espalier/train/train_config.h"

namespace espalier {

/// (1 - weight) hard + weight T^2 KL(softmax(teacher's logits / T) || softmax(logits / T)), the mean over the
/// images of a batch: ops::softmax_kl_divergence. `hard` is the stage's own loss, which alone is measured, by
/// which `rank` is, and which smoothing and mixup act on. The teacher sees the images as the network does,
/// augmented and mixed. Each feature adds its weight times its distance (FeatureMaps::distance).
class DistilledLoss : public Loss {
 public:
  /// All must outlive it. `maps`: of the config's features; null if it has none.
  DistilledLoss(const Loss& hard, Teacher& teacher, const DistillConfig& config,
                const FeatureMaps* maps = nullptr);

  /// Whether the teacher is asked at all.
  bool asks() const { return weight_ > 0 || !layers_.empty(); }

  LossValue of_batch(const Forward& network, const Batch& batch) const override;

 protected:
  /// The hard loss.
  LossValue of(const Variable& logits, const Tensor& labels, bool training) const override;

 private:
  LossValue hard_of(const Variable& logits, const Batch& batch) const;

  const Loss& hard_;
  Teacher& teacher_;
  const FeatureMaps* maps_;
  float temperature_, weight_;
  std::vector<float> feature_weights_;
  std::vector<std::string> layers_, teachers_layers_;
};

}  // namespace espalier

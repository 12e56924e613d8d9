// Knowledge distillation (Hinton, Vinyals and Dean 2015): a network learns from its labels, and from what a
// teacher makes of the same images.
#pragma once

#include "espalier/train/loss.h"
#include "espalier/train/teacher.h"
#include "espalier/train/train_config.h"

namespace espalier {

/// (1 - weight) hard + weight T^2 KL(softmax(teacher's logits / T) || softmax(logits / T)), the mean over the
/// images of a batch: ops::softmax_kl_divergence. `hard` is the stage's own loss, which alone is measured, by
/// which `rank` is, and which smoothing and mixup act on. The teacher sees the images as the network does,
/// augmented and mixed.
class DistilledLoss : public Loss {
 public:
  /// Both must outlive it.
  DistilledLoss(const Loss& hard, Teacher& teacher, const DistillConfig& config)
      : hard_(hard),
        teacher_(teacher),
        temperature_(static_cast<float>(config.temperature)),
        weight_(static_cast<float>(config.weight)) {}

  LossValue of_batch(const Forward& network, const Batch& batch) const override;

 protected:
  /// The hard loss.
  LossValue of(const Variable& logits, const Tensor& labels, bool training) const override;

 private:
  LossValue hard_of(const Variable& logits, const Batch& batch) const;

  const Loss& hard_;
  Teacher& teacher_;
  float temperature_, weight_;
};

}  // namespace espalier

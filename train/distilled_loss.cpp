#include "espalier/train/distilled_loss.h"

namespace espalier {

LossValue DistilledLoss::of(const Variable& logits, const Tensor& labels, bool training) const {
  if (!training) return hard_.measure(logits, labels);
  return hard_.train(logits, {.images = {}, .labels = labels, .size = labels.elements(), .other_labels = {}});
}

/// Where it counts nothing, only its rank is wanted.
LossValue DistilledLoss::hard_of(const Variable& logits, const Batch& batch) const {
  if (weight_ < 1) return hard_.train(logits, batch);
  const NoGradient off;
  return hard_.train(logits, batch);
}

LossValue DistilledLoss::of_batch(const Forward& network, const Batch& batch) const {
  // Before the network's own pass, whose activations stay in memory for the way back.
  const Tensor taught = weight_ > 0 ? teacher_.logits(batch.images) : Tensor();
  const Variable logits = network(Variable(batch.images));
  LossValue result = hard_of(logits, batch);
  if (!taught.defined()) return result;  // the same bits as without a teacher
  const Variable soft = ops::scale(ops::softmax_kl_divergence(logits, taught, temperature_), weight_);
  result.loss = weight_ < 1 ? ops::add(ops::scale(result.loss, 1.0f - weight_), soft) : soft;
  return result;
}

}  // namespace espalier

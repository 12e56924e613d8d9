#include "espalier/train/distilled_loss.h"

#include <optional>

#include "espalier/nn/layer_outputs.h"

namespace espalier {

DistilledLoss::DistilledLoss(const Loss& hard, Teacher& teacher, const DistillConfig& config,
                             const FeatureMaps* maps)
    : hard_(hard),
      teacher_(teacher),
      maps_(maps),
      temperature_(static_cast<float>(config.temperature)),
      weight_(static_cast<float>(config.weight)),
      layers_(layers_of_network(config.features)),
      teachers_layers_(layers_of_teacher(config.features)) {
  for (const FeatureConfig& feature : config.features)
    feature_weights_.push_back(static_cast<float>(feature.weight));
}

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
  const Teacher::Answers taught =
      asks() ? teacher_.answers(batch.images, teachers_layers_) : Teacher::Answers();
  std::optional<LayerOutputs> seen;
  if (!layers_.empty()) seen.emplace(layers_);
  const Variable logits = network(Variable(batch.images));
  if (seen) seen->close();
  LossValue result = hard_of(logits, batch);  // at weight 0 the same bits as without a teacher
  if (weight_ > 0) {
    const Variable soft =
        ops::scale(ops::softmax_kl_divergence(logits, taught.logits, temperature_), weight_);
    result.loss = weight_ < 1 ? ops::add(ops::scale(result.loss, 1.0f - weight_), soft) : soft;
  }
  for (size_t i = 0; i < layers_.size(); ++i)
    result.loss = ops::add(
        result.loss, ops::scale(maps_->distance(i, (*seen)[i], taught.features[i]), feature_weights_[i]));
  return result;
}

}  // namespace espalier

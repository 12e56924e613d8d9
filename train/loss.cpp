#include "espalier/train/loss.h"

namespace espalier {
namespace {

/// ops::softmax_cross_entropy (graph/ops.h).
class CrossEntropy : public Loss {
 public:
  explicit CrossEntropy(const LossOptions& options)
      : smoothing_(static_cast<float>(options.label_smoothing)) {}

 protected:
  LossValue of(const Variable& logits, const Tensor& labels, bool training) const override {
    auto result = ops::softmax_cross_entropy(logits, labels, training ? smoothing_ : 0.0f);
    return {std::move(result.loss), std::move(result.rank)};
  }

 private:
  float smoothing_;
};

}  // namespace

LossValue Loss::train(const Variable& logits, const Batch& batch) const {
  LossValue result = of(logits, batch.labels, true);
  if (batch.share < 1) {
    const LossValue other = of(logits, batch.other_labels, true);
    result.loss = ops::add(ops::scale(result.loss, batch.share), ops::scale(other.loss, 1.0f - batch.share));
  }
  return result;
}

Registry<LossInfo>& losses() {
  static Registry<LossInfo> all("loss",
                                {{.name = "cross_entropy",
                                  .help = "minus the logarithm of the share that softmax gives the label",
                                  .make = [](const LossOptions& options) -> std::unique_ptr<Loss> {
                                    return std::make_unique<CrossEntropy>(options);
                                  }}});
  return all;
}

std::unique_ptr<Loss> make_loss(const LossOptions& options) {
  const LossInfo& info = losses().named(options.type);
  LossOptions all = options;
  all.extra = options.extra.with_defaults(info.extra, "loss " + info.name);
  return info.make(all);
}

const Loss& default_loss() {
  static const std::unique_ptr<Loss> loss = make_loss({});
  return *loss;
}

}  // namespace espalier

#include "espalier/train/loss.h"

#include <algorithm>

#include "espalier/util/spelling.h"

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

/// Every loss once: config, help and messages learn of it from here.
struct LossType {
  const char* name;
  std::unique_ptr<Loss> (*make)(const LossOptions&);
};
template <class Type>
std::unique_ptr<Loss> make(const LossOptions& options) {
  return std::make_unique<Type>(options);
}
constexpr LossType loss_types[] = {{"cross_entropy", make<CrossEntropy>}};

}  // namespace

LossValue Loss::train(const Variable& logits, const Batch& batch) const {
  LossValue result = of(logits, batch.labels, true);
  if (batch.share < 1) {
    const LossValue other = of(logits, batch.other_labels, true);
    result.loss = ops::add(ops::scale(result.loss, batch.share), ops::scale(other.loss, 1.0f - batch.share));
  }
  return result;
}

std::unique_ptr<Loss> make_loss(const LossOptions& options) {
  const auto found = std::ranges::find(loss_types, options.type, &LossType::name);
  if (found == std::end(loss_types)) fail_no_type("loss", options.type, loss_names());
  return found->make(options);
}

const Loss& default_loss() {
  static const std::unique_ptr<Loss> loss = make_loss({});
  return *loss;
}

std::vector<std::string> loss_names() {
  std::vector<std::string> names;
  for (const LossType& type : loss_types) names.emplace_back(type.name);
  return names;
}

}  // namespace espalier

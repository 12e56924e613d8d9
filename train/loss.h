// Loss: what training makes small, under the name that configs give it. One object, made once, serves
// training, evaluation and the gradients that pruning's criteria look at.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "espalier/data/loader.h"
#include "espalier/graph/ops.h"
#include "espalier/util/extra_options.h"
#include "espalier/util/registry.h"

namespace espalier {

struct LossOptions {
  std::string type = "cross_entropy";  ///< a row of losses()
  double label_smoothing = 0.0;  ///< share of the target spread over all classes while training, in [0,1)
  ExtraOptions extra = {};       ///< those that the row declares
};

/// What a loss makes of the logits of N images.
struct LossValue {
  Variable loss;  ///< [], the mean over the images
  Tensor rank;    ///< i32 [N]: how many classes come before the label's; 0 is top-1 right, below 5 top-5
};

class Loss {
 public:
  virtual ~Loss() = default;

  /// Runs the network that is trained: images [N,H,W,C] to logits [N,classes].
  using Forward = std::function<Variable(const Variable& images)>;
  /// What a step of training makes small of a batch, which it has `network` look at once: train() of its
  /// logits, and for a loss that looks at more (distilled_loss.h) what that adds.
  virtual LossValue of_batch(const Forward& network, const Batch& batch) const {
    return train(network(Variable(batch.images)), batch);
  }
  /// What a step of training makes small: of logits [N,classes] of the batch, with what is only for training,
  /// as smoothing. Under mixup the two labels of an image count by their shares, share L(labels) +
  /// (1 - share) L(other_labels), and `rank` is by the larger.
  LossValue train(const Variable& logits, const Batch& batch) const;
  /// What evaluation reports, and what pruning's criteria take gradients of: of the labels (i32 [N]) as they
  /// are.
  LossValue measure(const Variable& logits, const Tensor& labels) const { return of(logits, labels, false); }

 protected:
  virtual LossValue of(const Variable& logits, const Tensor& labels, bool training) const = 0;
};

/// What a name of a loss stands for.
struct LossInfo {
  std::string name, help;
  std::string paper = {};  ///< authors: title, venue; empty where there is none
  std::vector<ExtraOption> extra = {};
  /// The options have all that the row declares.
  std::function<std::unique_ptr<Loss>(const LossOptions&)> make;
};
Registry<LossInfo>& losses();

/// The loss of that type. UsageError for one that is not known, with the nearest spelling.
std::unique_ptr<Loss> make_loss(const LossOptions& options);
/// Cross-entropy without smoothing: where nothing is said.
const Loss& default_loss();

}  // namespace espalier

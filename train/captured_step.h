// The part of a training step on a card that is the same each time, the passes forward and backward, as one
// CUDA graph. What the step then does with the gradients (penalties, clipping, the optimizer, averages) is a
// few launches whose arguments change from step to step; they go to the card as ever, and so do batches,
// which are gathered into the same memory each time.
//
// Launched as ever are
//   - the first two steps of a stage, and the two after a change of what the passes read: a parameter's
//     memory or shape or whether it learns (a cut), the batches' memory, the precision
//   - an epoch's last step where fewer images are left than others have
//   - steps under mixup, whose loss has a share of its own in each batch
//   - those of a network that draws random numbers, as dropout does, by a key of the host's
//   - steps for which the capture failed three times, as where the driver has no memory left
//   - all under ESPALIER_CUDA_ALLOCATOR=plain (cuda/allocator.cpp)
// All of these bring the same bits.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "espalier/data/loader.h"
#include "espalier/nn/module.h"

namespace espalier {

/// What a step's passes leave beside gradients: the loss of each of its batches and what it counts in the
/// step's.
struct BatchLoss {
  Tensor loss;
  double share;
};
using StepLosses = std::vector<BatchLoss>;

class CapturedStep {
 public:
  /// Clears the gradients of a model, makes those of batches, and asks nothing of the card that depends on
  /// anything but them and the model. On the host it changes nothing that lasts but counts of batches
  /// (Parameter::is_count).
  using Passes = std::function<StepLosses()>;

  /// `beside`: parameters that the passes train besides the model's.
  explicit CapturedStep(Module& model, std::vector<Parameter*> beside = {});
  ~CapturedStep();
  CapturedStep(const CapturedStep&) = delete;
  CapturedStep& operator=(const CapturedStep&) = delete;

  /// Runs `passes`, which are of `batches` and the model; on a card from the third time on what they did, as
  /// a graph. The gradients are then the graph's own memory, which it overwrites the next time.
  StepLosses run(std::span<const Batch> batches, const Passes& passes);
  /// How many times it was a graph.
  int64_t replayed() const { return replayed_; }
  /// While one lives, what passes allocate on a card comes from the memory that the graph works in, so that a
  /// step that is launched takes no more. Nothing that outlives the next step may be allocated meanwhile.
  [[nodiscard]] std::shared_ptr<void> memory(Device device);

 private:
  struct OnCard;
  OnCard& on_card();

  Module& model_;
  const std::vector<Parameter*> beside_;
  int64_t replayed_ = 0;
  std::unique_ptr<OnCard> card_;  // once a step was on one
};

}  // namespace espalier

// Teacher: a trained network from whose answers another one learns.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "espalier/autograd/fixed_weights.h"
#include "espalier/nn/module.h"

namespace espalier {

/// Looks at each batch once, in inference mode: norms are folded into convolutions, nothing is recorded, and
/// what kernels make of its weights is kept from one batch to the next.
class Teacher {
 public:
  /// Of `network` only the weights stay, or their moving average where it has one; what a mask drops is 0
  /// already. `batch`: images that it looks at in most passes: only for so many is kept what kernels make.
  Teacher(std::unique_ptr<Module> network, int64_t batch);

  struct Answers {
    Tensor logits;                 ///< [N,classes]
    std::vector<Tensor> features;  ///< what each of the layers put out, [N,...,C]
  };
  /// Of images [N,H,W,C]; `layers`: names as LayerOutputs has them. Where a card has no memory for that,
  /// OutOfMemory says who asked.
  Answers answers(const Tensor& images, const std::vector<std::string>& layers = {});
  Tensor logits(const Tensor& images) { return answers(images).logits; }

  Module& network() { return *network_; }
  /// What answers() has taken so far on the CPU, where who calls it waits for it; on a card 0.
  double seconds() const { return seconds_; }
  /// Seconds an image, undisturbed (core/measure.h), of some batches of black images [H,W,C], for which it
  /// waits on any device; seconds() does not count them.
  double image_seconds(const Shape& image);

 private:
  Answers pass(const Tensor& images, const std::vector<std::string>& layers);

  const std::unique_ptr<Module> network_;
  const int64_t batch_;
  PreparedWeights prepared_;
  double seconds_ = 0;
};

}  // namespace espalier

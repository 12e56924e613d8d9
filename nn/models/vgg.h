// VGG (Simonyan and Zisserman 2015) in its form for images of 32x32 pixels.
#pragma once

#include <array>

#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"

namespace espalier {

/// One VGG: its name's number, and how many convolutions each of its five blocks has.
struct VggPlan {
  int depth;
  std::array<int, 5> blocks;
};
const std::vector<VggPlan>& vgg_plans();

/// Five blocks of 3x3 convolutions to 64, 128, 256, 512 and 512 channels, each convolution with a bias, a
/// norm (if `batch_norm`) and the activation; pooling by 2 behind the first three blocks, where the original
/// has it behind all, so that the last two see 4x4 of 32x32 pixels; the mean of all pixels; one linear layer.
/// `features.N` has torchvision's numbers, which count norms, activations and all five poolings.
class Vgg : public Module {
 public:
  Vgg(const VggPlan& plan, const ModelOptions& options, Activation f);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "vgg"; }

 private:
  struct Layer {
    Conv2d* convolution;
    BatchNorm2d* norm;  ///< or null
    bool pooled;
  };

  std::vector<Layer> layers_;
  Linear* classifier_;
  Activation f_;
  bool average_pool_;
};

}  // namespace espalier

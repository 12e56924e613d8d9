// SqueezeNet 1.1 (Iandola et al. 2016).
#pragma once

#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"

namespace espalier {

/// features.0, a strided 3x3 convolution without padding; fires at features.3 .. 12, with 3x3 poolings by 2
/// between; classifier.1, a 1x1 convolution with relu, and the mean of all pixels. With the stem `small` the
/// first convolution is not strided and the first pooling left out. Unlike torchvision's it drops nothing
/// before the classifier.
class SqueezeNet : public Module {
 public:
  explicit SqueezeNet(const ModelOptions& options);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "squeezenet"; }

 private:
  Conv2d* stem_;
  std::vector<Module*> fires_;  // a null stands for a pooling
  Conv2d* classifier_;
};

}  // namespace espalier

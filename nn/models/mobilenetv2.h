// MobileNetV2 (Sandler et al. 2018).
#pragma once

#include "espalier/nn/models/conv_norm.h"
#include "espalier/nn/models/models.h"

namespace espalier {

/// features.0, a strided 3x3 convolution; features.1 .. 17, inverted residuals in seven stages; features.18,
/// a 1x1 convolution; the mean of all pixels; classifier.1. Each convolution has a norm, all but those that
/// project relu6. With the stem `small` the first convolution and the first stage that would be strided are
/// not. Unlike torchvision's it drops nothing before the classifier.
class MobileNetV2 : public Module {
 public:
  explicit MobileNetV2(const ModelOptions& options);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "mobilenetv2"; }

 private:
  std::vector<Module*> features_;
  Linear* classifier_;
};

}  // namespace espalier

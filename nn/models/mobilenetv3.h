// MobileNetV3 (Howard et al. 2019), the small one.
#pragma once

#include "espalier/nn/models/conv_norm.h"
#include "espalier/nn/models/models.h"

namespace espalier {

/// features.0, a strided 3x3 convolution; features.1 .. 11, inverted residuals, most with
/// squeeze-and-excitation; features.12, a 1x1 convolution; the mean of all pixels; classifier.0 and
/// classifier.3. With the stem `small` the first convolution and the first block, which are strided, are not.
/// Unlike torchvision's it drops nothing before the last layer.
class MobileNetV3Small : public Module {
 public:
  explicit MobileNetV3Small(const ModelOptions& options);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "mobilenetv3"; }

 private:
  std::vector<Module*> features_;
  Linear *hidden_, *classifier_;
};

}  // namespace espalier

// MobileNetV3 (Howard et al. 2019), the small one and the large one.
#pragma once

#include <span>

#include "espalier/nn/models/conv_norm.h"
#include "espalier/nn/models/models.h"

namespace espalier {

/// features.0, a strided 3x3 convolution; features.1 .. N, inverted residuals, most with
/// squeeze-and-excitation; a 1x1 convolution; the mean of all pixels; classifier.0 and classifier.3. With the
/// stem `small` the first convolution and the first strided block are not strided. Unlike torchvision's it
/// drops nothing before the last layer.
class MobileNetV3 : public Module {
 public:
  struct Block;
  Variable forward(const Variable& x) override;
  std::string type() const override { return "mobilenetv3"; }

 protected:
  MobileNetV3(const ModelOptions& options, std::span<const Block> blocks, int64_t hidden_units);

 private:
  std::vector<Module*> features_;
  Linear *hidden_, *classifier_;
};

/// 11 inverted residuals, 2,542,856 parameters
class MobileNetV3Small : public MobileNetV3 {
 public:
  explicit MobileNetV3Small(const ModelOptions& options);
};
/// 15 inverted residuals, 5,483,032 parameters
class MobileNetV3Large : public MobileNetV3 {
 public:
  explicit MobileNetV3Large(const ModelOptions& options);
};

}  // namespace espalier

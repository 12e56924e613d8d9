// DenseNet-121 (Huang et al. 2017).
#pragma once

#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"

namespace espalier {

/// features.conv0 norm0; features.denseblock1 .. 4 of dense layers, each of which puts 32 channels beside
/// what it reads; between them features.transition1 .. 3, which halve channels and sides; features.norm5; the
/// mean of all pixels; classifier. Stem `small`: conv0 is 3x3; `imagenet`: 7x7 by stride 2, and 3x3 pooling
/// by 2 behind it.
class DenseNet121 : public Module {
 public:
  explicit DenseNet121(const ModelOptions& options);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "densenet"; }

 private:
  Conv2d* stem_;
  BatchNorm2d *stem_norm_, *last_norm_;
  std::vector<Module*> features_;
  Linear* classifier_;
  bool pooled_;
};

}  // namespace espalier

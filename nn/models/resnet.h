// Residual networks (He et al. 2016).
#pragma once

#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"

namespace espalier {

/// One ResNet: its name's number, its form and how many blocks each stage has.
struct ResNetPlan {
  int depth;
  int64_t channels;  ///< of the first stage; each stage doubles them and halves the image's sides
  bool bottleneck;   ///< blocks of 1x1, 3x3 and 1x1 to four times the channels, else of two 3x3
  std::vector<int64_t> blocks;

  /// Those for images of 32x32 pixels begin small always, the others as the option `stem` says.
  bool has_stem() const { return blocks.size() == 4; }
};
const std::vector<ResNetPlan>& resnet_plans();

/// y = f(norm(last convolution(... f(norm(first convolution(x))))) + shortcut(x)): conv1 bn1 conv2 bn2 (conv3
/// bn3). The shortcut is x, or where the shape changes a strided 1x1 convolution and norm of it: downsample.0
/// and .1. The stride is the 3x3's.
class ResidualBlock : public Module {
 public:
  ResidualBlock(int64_t in, int64_t channels, int64_t stride, bool bottleneck, Activation f);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "residual_block"; }

 private:
  struct Layer {
    Conv2d* convolution;
    BatchNorm2d* norm;
  };
  Layer add_layer(const std::string& convolution, const std::string& norm, int64_t in, int64_t out, int64_t k,
                  int64_t stride);

  std::vector<Layer> layers_;
  Layer downsample_{};  // or nulls
  Activation f_;
};

/// conv1 bn1, layer1 .. layer4 (layer3) of residual blocks, the mean of all pixels, fc. Convolutions have no
/// bias. Stem `small`: conv1 is 3x3; `imagenet`: 7x7 by stride 2, and 3x3 pooling by 2 after it.
class ResNet : public Module {
 public:
  ResNet(const ResNetPlan& plan, const ModelOptions& options, Activation f);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "resnet"; }

 private:
  Conv2d* stem_;
  BatchNorm2d* stem_norm_;
  std::vector<ResidualBlock*> blocks_;
  Linear* fc_;
  Activation f_;
  bool pooled_, average_pool_;
};

}  // namespace espalier

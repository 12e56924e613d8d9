// MobileNetV2 (Sandler et al. 2018).
#include "espalier/nn/models/conv_norm.h"
#include "espalier/nn/models/models.h"

namespace espalier {
namespace {

struct Stage {
  int64_t expansion, channels, blocks, stride;
};
constexpr Stage stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                            {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

/// y = norm(project(depthwise(expand(x)))), plus x where the shape stays: convolutions 1x1, 3x3 and 1x1 under
/// conv.0 .. conv.3; without an expansion the first is left out.
class InvertedResidual : public Module {
 public:
  InvertedResidual(int64_t in, int64_t out, int64_t stride, int64_t expansion)
      : adds_(stride == 1 && in == out) {
    const int64_t hidden = in * expansion;
    int number = 0;
    const auto name = [&] { return "conv." + std::to_string(number++); };
    if (expansion != 1) layers_.push_back(&add_child<ConvNorm>(name(), in, hidden, 1, Activation::relu6));
    layers_.push_back(&add_child<ConvNorm>(name(), hidden, hidden, 3, Activation::relu6,
                                           ops::Conv2dOptions{.stride = stride, .groups = hidden}));
    project_ = &add_child<Conv2d>(name(), hidden, out, 1, ops::Conv2dOptions{}, false);
    norm_ = &add_child<BatchNorm2d>(name(), out);
  }
  Variable forward(const Variable& x) override {
    Variable y = x;
    for (ConvNorm* layer : layers_) y = layer->forward(y);
    return project_->forward(y, *norm_, Activation::none, adds_ ? x : Variable());
  }
  std::string type() const override { return "inverted_residual"; }

 private:
  std::vector<ConvNorm*> layers_;
  Conv2d* project_;
  BatchNorm2d* norm_;
  bool adds_;
};

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

MobileNetV2::MobileNetV2(const ModelOptions& o) {
  const auto name = [&] { return "features." + std::to_string(features_.size()); };
  bool small = !has_imagenet_stem(o);  // until the first strided stage
  int64_t in = scaled_width(32, o.width);
  features_.push_back(&add_child<ConvNorm>(name(), o.input[2], in, 3, Activation::relu6,
                                           ops::Conv2dOptions{.stride = small ? 1 : 2}));
  for (const Stage& stage : stages) {
    const int64_t out = scaled_width(stage.channels, o.width), stride = small ? 1 : stage.stride;
    small = small && stage.stride == 1;
    for (int64_t i = 0; i < stage.blocks; ++i, in = out)
      features_.push_back(
          &add_child<InvertedResidual>(name(), in, out, i == 0 ? stride : 1, stage.expansion));
  }
  const int64_t last = scaled_width(1280, o.width);
  features_.push_back(&add_child<ConvNorm>(name(), in, last, 1, Activation::relu6));
  classifier_ = &add_child<Linear>("classifier.1", last, o.classes);
}

Variable MobileNetV2::forward(const Variable& x) {
  Variable y = x;
  for (Module* feature : features_) y = feature->forward(y);
  return classifier_->forward(ops::global_average_pool(y));
}

}  // namespace

ModelInfo mobilenetv2() {
  return {.name = "mobilenetv2",
          .help = "MobileNetV2: inverted residuals",
          .input = {224, 224, 3},
          .classes = 1000,
          .options = {"stem"},
          .make = [](const ModelOptions& o, Activation) { return std::make_unique<MobileNetV2>(o); },
          .has_own_activations = true};
}

}  // namespace espalier

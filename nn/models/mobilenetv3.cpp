// MobileNetV3 (Howard et al. 2019), the small one and the large one.
#include <algorithm>
#include <span>

#include "espalier/nn/models/conv_norm.h"
#include "espalier/nn/models/models.h"

namespace espalier {
namespace {

constexpr ConvNorm::NormOptions norm_options{.eps = 1e-3f, .momentum = 0.01f};

struct Block {
  int64_t kernel, hidden, channels;
  bool excites;
  Activation f;
  int64_t stride;
};
constexpr Activation simple = Activation::relu, swish = Activation::hard_swish;
constexpr Block small_blocks[] = {
    {3, 16, 16, true, simple, 2}, {3, 72, 24, false, simple, 2}, {3, 88, 24, false, simple, 1},
    {5, 96, 40, true, swish, 2},  {5, 240, 40, true, swish, 1},  {5, 240, 40, true, swish, 1},
    {5, 120, 48, true, swish, 1}, {5, 144, 48, true, swish, 1},  {5, 288, 96, true, swish, 2},
    {5, 576, 96, true, swish, 1}, {5, 576, 96, true, swish, 1}};
constexpr Block large_blocks[] = {
    {3, 16, 16, false, simple, 1}, {3, 64, 24, false, simple, 2}, {3, 72, 24, false, simple, 1},
    {5, 72, 40, true, simple, 2},  {5, 120, 40, true, simple, 1}, {5, 120, 40, true, simple, 1},
    {3, 240, 80, false, swish, 2}, {3, 200, 80, false, swish, 1}, {3, 184, 80, false, swish, 1},
    {3, 184, 80, false, swish, 1}, {3, 480, 112, true, swish, 1}, {3, 672, 112, true, swish, 1},
    {5, 672, 160, true, swish, 2}, {5, 960, 160, true, swish, 1}, {5, 960, 160, true, swish, 1}};

/// To a multiple of 8 that is no more than a tenth smaller.
int64_t in_eights(int64_t channels) {
  const int64_t near = std::max<int64_t>(8, (channels + 4) / 8 * 8);
  return 10 * near < 9 * channels ? near + 8 : near;
}

/// y = x gate, gate [N,1,1,C] = hard_sigmoid(fc2(relu(fc1(mean of x's pixels)))) (Hu et al. 2018).
class SqueezeExcitation : public Module {
 public:
  SqueezeExcitation(int64_t channels, int64_t squeezed)
      : fc1_(&add_child<Conv2d>("fc1", channels, squeezed, 1, ops::Conv2dOptions{}, true, Activation::relu)),
        fc2_(&add_child<Conv2d>("fc2", squeezed, channels, 1, ops::Conv2dOptions{}, true,
                                Activation::hard_sigmoid)) {}
  Variable forward(const Variable& x) override {
    return ops::mul(x, fc2_->forward(fc1_->forward(ops::adaptive_average_pool2d(x, 1, 1))));
  }
  std::string type() const override { return "squeeze_excitation"; }

 private:
  Conv2d *fc1_, *fc2_;
};

/// y = norm(project(excite(depthwise(expand(x))))), plus x where the shape stays; block.0 .. block.3, without
/// what leaves nothing to expand or does not excite.
class ExcitedResidual : public Module {
 public:
  ExcitedResidual(const Block& block, int64_t in, int64_t hidden, int64_t out, int64_t stride)
      : adds_(stride == 1 && in == out) {
    int number = 0;
    const auto name = [&] { return "block." + std::to_string(number++); };
    if (hidden != in)
      layers_.push_back(
          &add_child<ConvNorm>(name(), in, hidden, 1, block.f, ops::Conv2dOptions{}, norm_options));
    layers_.push_back(&add_child<ConvNorm>(name(), hidden, hidden, block.kernel, block.f,
                                           ops::Conv2dOptions{.stride = stride, .groups = hidden},
                                           norm_options));
    if (block.excites)
      layers_.push_back(&add_child<SqueezeExcitation>(name(), hidden, in_eights(hidden / 4)));
    project_ =
        &add_child<ConvNorm>(name(), hidden, out, 1, Activation::none, ops::Conv2dOptions{}, norm_options);
  }
  Variable forward(const Variable& x) override {
    Variable y = x;
    for (Module* layer : layers_) y = layer->forward(y);
    return project_->forward(y, adds_ ? x : Variable());
  }
  std::string type() const override { return "inverted_residual"; }

 private:
  std::vector<Module*> layers_;
  ConvNorm* project_;
  bool adds_;
};

/// features.0, a strided 3x3 convolution; features.1 .. N, inverted residuals, most with
/// squeeze-and-excitation; a 1x1 convolution; the mean of all pixels; classifier.0 and classifier.3. With the
/// stem `small` the first convolution and the first strided block are not strided. Unlike torchvision's it
/// drops nothing before the last layer.
class MobileNetV3 : public Module {
 public:
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

MobileNetV3::MobileNetV3(const ModelOptions& o, std::span<const Block> blocks, int64_t hidden_units) {
  const auto name = [&] { return "features." + std::to_string(features_.size()); };
  bool small = !has_imagenet_stem(o);  // until the first strided block
  int64_t in = scaled_width(16, o.width);
  features_.push_back(&add_child<ConvNorm>(name(), o.input[2], in, 3, swish,
                                           ops::Conv2dOptions{.stride = small ? 1 : 2}, norm_options));
  for (const Block& block : blocks) {
    const int64_t out = scaled_width(block.channels, o.width), hidden = scaled_width(block.hidden, o.width);
    features_.push_back(
        &add_child<ExcitedResidual>(name(), block, in, hidden, out, small ? 1 : block.stride));
    small = small && block.stride == 1;
    in = out;
  }
  const int64_t last = scaled_width(6 * blocks.back().channels, o.width),
                hidden = scaled_width(hidden_units, o.width);
  features_.push_back(&add_child<ConvNorm>(name(), in, last, 1, swish, ops::Conv2dOptions{}, norm_options));
  hidden_ = &add_child<Linear>("classifier.0", last, hidden, true, swish);
  classifier_ = &add_child<Linear>("classifier.3", hidden, o.classes);
}

Variable MobileNetV3::forward(const Variable& x) {
  Variable y = x;
  for (Module* feature : features_) y = feature->forward(y);
  return classifier_->forward(hidden_->forward(ops::global_average_pool(y)));
}

MobileNetV3Small::MobileNetV3Small(const ModelOptions& o) : MobileNetV3(o, small_blocks, 1024) {}
MobileNetV3Large::MobileNetV3Large(const ModelOptions& o) : MobileNetV3(o, large_blocks, 1280) {}

}  // namespace

ModelInfo mobilenetv3_small() {
  return {.name = "mobilenetv3_small",
          .help = "MobileNetV3-Small: inverted residuals with squeeze-and-excitation",
          .input = {224, 224, 3},
          .classes = 1000,
          .options = {"stem"},
          .make = [](const ModelOptions& o, Activation) { return std::make_unique<MobileNetV3Small>(o); },
          .has_own_activations = true};
}

ModelInfo mobilenetv3_large() {
  return {.name = "mobilenetv3_large",
          .help = "MobileNetV3-Large: inverted residuals with squeeze-and-excitation",
          .input = {224, 224, 3},
          .classes = 1000,
          .options = {"stem"},
          .make = [](const ModelOptions& o, Activation) { return std::make_unique<MobileNetV3Large>(o); },
          .has_own_activations = true};
}

}  // namespace espalier

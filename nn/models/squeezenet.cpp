// SqueezeNet 1.1 (Iandola et al. 2016).
#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"

namespace espalier {
namespace {

/// Channels of each fire's squeeze, and of each half of its expansion; 0: a pooling.
constexpr int64_t squeezed[] = {0, 16, 16, 0, 32, 32, 0, 48, 48, 64, 64};

/// y = relu(expand1x1(s)) and relu(expand3x3(s)) side by side, s = relu(squeeze(x)).
class Fire : public Module {
 public:
  Fire(int64_t in, int64_t narrow, int64_t each)
      : squeeze_(add("squeeze", in, narrow, 1)),
        expand1x1_(add("expand1x1", narrow, each, 1)),
        expand3x3_(add("expand3x3", narrow, each, 3)) {}
  Variable forward(const Variable& x) override {
    const Variable narrow = squeeze_->forward(x);
    return ops::concat({expand1x1_->forward(narrow), expand3x3_->forward(narrow)});
  }
  std::string type() const override { return "fire"; }

 private:
  Conv2d* add(const std::string& name, int64_t in, int64_t out, int64_t k) {
    return &add_child<Conv2d>(name, in, out, k, ops::Conv2dOptions{.pad = k / 2}, true, Activation::relu);
  }
  Conv2d *squeeze_, *expand1x1_, *expand3x3_;
};

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

SqueezeNet::SqueezeNet(const ModelOptions& o) {
  const bool small = !has_imagenet_stem(o);
  const int64_t min_side = 3;
  if (std::min(o.input[0], o.input[1]) < min_side)
    fail_usage("model: squeezenet needs an input of at least ", min_side, "x", min_side, " pixels, found ",
               o.input[0], "x", o.input[1]);
  int64_t in = scaled_width(64, o.width);
  stem_ = &add_child<Conv2d>("features.0", o.input[2], in, 3, ops::Conv2dOptions{.stride = small ? 1 : 2},
                             true, Activation::relu);
  for (size_t i = 0; i < std::size(squeezed); ++i) {
    if (squeezed[i] == 0) {
      if (i > 0 || !small) fires_.push_back(nullptr);
      continue;
    }
    const int64_t each = scaled_width(4 * squeezed[i], o.width);
    fires_.push_back(
        &add_child<Fire>("features." + std::to_string(i + 2), in, scaled_width(squeezed[i], o.width), each));
    in = 2 * each;
  }
  classifier_ =
      &add_child<Conv2d>("classifier.1", in, o.classes, 1, ops::Conv2dOptions{}, true, Activation::relu);
}

Variable SqueezeNet::forward(const Variable& x) {
  Variable y = stem_->forward(x);
  for (Module* fire : fires_) y = fire ? fire->forward(y) : ops::max_pool2d(y, 3, 2, 0, true);
  return ops::global_average_pool(classifier_->forward(y));
}

}  // namespace

ModelInfo squeezenet() {
  return {.name = "squeezenet",
          .help = "SqueezeNet 1.1: fires of 1x1 and 3x3",
          .input = {224, 224, 3},
          .classes = 1000,
          .options = {"stem"},
          .make = [](const ModelOptions& o, Activation) { return std::make_unique<SqueezeNet>(o); },
          .has_own_activations = true};
}

}  // namespace espalier

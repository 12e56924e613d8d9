#include "espalier/nn/models/squeezenet.h"

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

}  // namespace

SqueezeNet::SqueezeNet(const ModelOptions& o) {
  const bool small = !has_imagenet_stem(o);
  const int64_t least = 3;
  if (std::min(o.input[0], o.input[1]) < least)
    fail_usage("model: squeezenet needs an input of at least ", least, "x", least, " pixels, found ",
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

}  // namespace espalier

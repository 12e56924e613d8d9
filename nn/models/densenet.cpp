// DenseNet-121 (Huang et al. 2017).
#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"

namespace espalier {
namespace {

constexpr int64_t dense_blocks[] = {6, 12, 24, 16};

Variable relu_of(BatchNorm2d& norm, const Variable& x) {
  return ops::batch_norm(x, norm.begin_pass(), Activation::relu);
}

/// y = x and conv2(relu(norm2(conv1(relu(norm1(x)))))) side by side: 1x1 to four times what 3x3 makes.
class DenseLayer : public Module {
 public:
  DenseLayer(int64_t in, int64_t grows)
      : norm1_(&add_child<BatchNorm2d>("norm1", in)),
        conv1_(&add_child<Conv2d>("conv1", in, 4 * grows, 1, ops::Conv2dOptions{}, false)),
        norm2_(&add_child<BatchNorm2d>("norm2", 4 * grows)),
        conv2_(&add_child<Conv2d>("conv2", 4 * grows, grows, 3, ops::Conv2dOptions{.pad = 1}, false)) {}
  Variable forward(const Variable& x) override {
    const Variable narrow = conv1_->forward(relu_of(*norm1_, x), *norm2_, Activation::relu);
    return ops::concat({x, conv2_->forward(narrow)});
  }
  std::string type() const override { return "dense_layer"; }

 private:
  BatchNorm2d* norm1_;
  Conv2d* conv1_;
  BatchNorm2d* norm2_;
  Conv2d* conv2_;
};

/// y = the mean of each 2x2 pixels of conv(relu(norm(x))), 1x1.
class Transition : public Module {
 public:
  Transition(int64_t in, int64_t out)
      : norm_(&add_child<BatchNorm2d>("norm", in)),
        conv_(&add_child<Conv2d>("conv", in, out, 1, ops::Conv2dOptions{}, false)) {}
  Variable forward(const Variable& x) override {
    return ops::average_pool2d(conv_->forward(relu_of(*norm_, x)), 2);
  }
  std::string type() const override { return "transition"; }

 private:
  BatchNorm2d* norm_;
  Conv2d* conv_;
};

/// features.conv0 norm0; features.denseblock1 .. 4 of dense layers, each of which puts 32 channels beside
/// what it reads; between them features.transition1 .. 3, which halve channels and sides; features.norm5; the
/// mean of all pixels; classifier. Stem `small`: conv0 is 3x3; `imagenet`: 7x7 by stride 2, and 3x3 pooling
/// by 2 after it.
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

DenseNet121::DenseNet121(const ModelOptions& o) : pooled_(has_imagenet_stem(o)) {
  const int64_t min_side = pooled_ ? 29 : 8;  // a pixel is left after the last transition
  if (std::min(o.input[0], o.input[1]) < min_side)
    fail_usage("model: densenet121 needs an input of at least ", min_side, "x", min_side, " pixels, found ",
               o.input[0], "x", o.input[1]);
  int64_t channels = scaled_width(64, o.width);
  const int64_t grows = scaled_width(32, o.width);
  stem_ = &add_child<Conv2d>("features.conv0", o.input[2], channels, pooled_ ? 7 : 3,
                             ops::Conv2dOptions{.stride = pooled_ ? 2 : 1, .pad = pooled_ ? 3 : 1}, false);
  stem_norm_ = &add_child<BatchNorm2d>("features.norm0", channels);
  for (size_t block = 0; block < std::size(dense_blocks); ++block) {
    const std::string number = std::to_string(block + 1);
    for (int64_t i = 1; i <= dense_blocks[block]; ++i, channels += grows)
      features_.push_back(&add_child<DenseLayer>(
          "features.denseblock" + number + ".denselayer" + std::to_string(i), channels, grows));
    if (block + 1 == std::size(dense_blocks)) break;
    const int64_t half = std::max<int64_t>(1, channels / 2);
    features_.push_back(&add_child<Transition>("features.transition" + number, channels, half));
    channels = half;
  }
  last_norm_ = &add_child<BatchNorm2d>("features.norm5", channels);
  classifier_ = &add_child<Linear>("classifier", channels, o.classes);
}

Variable DenseNet121::forward(const Variable& x) {
  Variable y = stem_->forward(x, *stem_norm_, Activation::relu);
  if (pooled_) y = ops::max_pool2d(y, 3, 2, 1);
  for (Module* feature : features_) y = feature->forward(y);
  return classifier_->forward(ops::global_average_pool(relu_of(*last_norm_, y)));
}

}  // namespace

ModelInfo densenet121() {
  return {.name = "densenet121",
          .help = "DenseNet-121: what a layer makes beside all before it",
          .input = {224, 224, 3},
          .classes = 1000,
          .options = {"stem"},
          .make = [](const ModelOptions& o, Activation) { return std::make_unique<DenseNet121>(o); },
          .has_own_activations = true};
}

}  // namespace espalier

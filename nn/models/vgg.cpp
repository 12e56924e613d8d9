// VGG (Simonyan and Zisserman 2015) in its form for images of 32x32 pixels.
#include <array>

#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"

namespace espalier {
namespace {

constexpr std::array<int64_t, 5> channels{64, 128, 256, 512, 512};
constexpr size_t poolings = 3;

/// One VGG: its name's number, and how many convolutions each of its five blocks has.
struct VggPlan {
  int depth;
  std::array<int, 5> blocks;
};
constexpr VggPlan vgg_plans[] = {
    {11, {1, 1, 2, 2, 2}}, {13, {2, 2, 2, 2, 2}}, {16, {2, 2, 3, 3, 3}}, {19, {2, 2, 4, 4, 4}}};

/// Five blocks of 3x3 convolutions to 64, 128, 256, 512 and 512 channels, each convolution with a bias, a
/// norm (if `batch_norm`) and the activation; pooling by 2 after the first three blocks, where the original
/// has it after all, so that the last two see 4x4 of 32x32 pixels; the mean of all pixels; one linear layer.
/// `features.N` has torchvision's numbers, which count norms, activations and all five poolings.
class Vgg : public Module {
 public:
  Vgg(const VggPlan& plan, const ModelOptions& options, Activation f);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "vgg"; }

 private:
  struct Layer {
    Conv2d* convolution;
    BatchNorm2d* norm;  ///< or null
    bool pooled;
  };

  std::vector<Layer> layers_;
  Linear* classifier_;
  Activation f_;
  bool average_pool_;
};

Vgg::Vgg(const VggPlan& plan, const ModelOptions& o, Activation f)
    : f_(f), average_pool_(o.pool == "average") {
  constexpr int64_t min_side = 1 << poolings;
  if (o.input[0] < min_side || o.input[1] < min_side)
    fail_usage("model: vgg", plan.depth, " needs an input of at least ", min_side, "x", min_side,
               " pixels, found ", o.input[0], "x", o.input[1]);
  const auto feature = [](int number) { return "features." + std::to_string(number); };
  const Activation own = o.batch_norm ? Activation::none : f;  // after a norm, the norm's op has it
  int64_t in = o.input[2];
  int number = 0;
  for (size_t block = 0; block < plan.blocks.size(); ++block) {
    const int64_t out = scaled_width(channels[block], o.width);
    for (int i = 0; i < plan.blocks[block]; ++i, in = out) {
      Layer layer{};
      layer.convolution =
          &add_child<Conv2d>(feature(number++), in, out, 3, ops::Conv2dOptions{.pad = 1}, true, own);
      if (o.batch_norm) layer.norm = &add_child<BatchNorm2d>(feature(number++), out);
      ++number;  // the activation
      layers_.push_back(layer);
    }
    layers_.back().pooled = block < poolings;
    ++number;
  }
  classifier_ = &add_child<Linear>("classifier", in, o.classes);
}

Variable Vgg::forward(const Variable& x) {
  Variable y = x;
  for (const Layer& layer : layers_) {
    y = layer.norm ? layer.convolution->forward(y, *layer.norm, f_) : layer.convolution->forward(y);
    if (layer.pooled) y = average_pool_ ? ops::average_pool2d(y, 2) : ops::max_pool2d(y, 2);
  }
  return classifier_->forward(ops::global_average_pool(y));
}

}  // namespace

std::vector<ModelInfo> vggs() {
  std::vector<ModelInfo> rows;
  for (const VggPlan& plan : vgg_plans)
    rows.push_back(
        {.name = join("vgg", plan.depth),
         .help = join("VGG-", plan.depth, " for small images"),
         .input = {32, 32, 3},
         .classes = 100,
         .options = {"pool", "batch_norm"},
         .make = [&plan](const ModelOptions& o, Activation f) { return std::make_unique<Vgg>(plan, o, f); }});
  return rows;
}

}  // namespace espalier

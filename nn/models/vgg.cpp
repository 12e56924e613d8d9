#include "espalier/nn/models/vgg.h"

namespace espalier {
namespace {

constexpr std::array<int64_t, 5> channels{64, 128, 256, 512, 512};
constexpr size_t poolings = 3;

}  // namespace

const std::vector<VggPlan>& vgg_plans() {
  static const std::vector<VggPlan> plans{
      {11, {1, 1, 2, 2, 2}}, {13, {2, 2, 2, 2, 2}}, {16, {2, 2, 3, 3, 3}}, {19, {2, 2, 4, 4, 4}}};
  return plans;
}

Vgg::Vgg(const VggPlan& plan, const ModelOptions& o, Activation f)
    : f_(f), average_pool_(o.pool == "average") {
  constexpr int64_t least = 1 << poolings;
  if (o.input[0] < least || o.input[1] < least)
    fail_usage("model: vgg", plan.depth, " needs an input of at least ", least, "x", least, " pixels, found ",
               o.input[0], "x", o.input[1]);
  const auto feature = [](int number) { return "features." + std::to_string(number); };
  const Activation own = o.batch_norm ? Activation::none : f;  // behind a norm, the norm's op has it
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

}  // namespace espalier

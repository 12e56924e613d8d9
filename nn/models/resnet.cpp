#include "espalier/nn/models/resnet.h"

#include <algorithm>

namespace espalier {

const std::vector<ResNetPlan>& resnet_plans() {
  static const std::vector<ResNetPlan> plans{{20, 16, false, {3, 3, 3}},     {32, 16, false, {5, 5, 5}},
                                             {44, 16, false, {7, 7, 7}},     {56, 16, false, {9, 9, 9}},
                                             {110, 16, false, {18, 18, 18}}, {18, 64, false, {2, 2, 2, 2}},
                                             {34, 64, false, {3, 4, 6, 3}},  {50, 64, true, {3, 4, 6, 3}},
                                             {101, 64, true, {3, 4, 23, 3}}, {152, 64, true, {3, 8, 36, 3}}};
  return plans;
}

ResidualBlock::ResidualBlock(int64_t in, int64_t channels, int64_t stride, bool bottleneck, Activation f)
    : f_(f) {
  const int64_t out = bottleneck ? 4 * channels : channels;
  if (bottleneck) {
    layers_.push_back(add_layer("conv1", "bn1", in, channels, 1, 1));
    layers_.push_back(add_layer("conv2", "bn2", channels, channels, 3, stride));
    layers_.push_back(add_layer("conv3", "bn3", channels, out, 1, 1));
  } else {
    layers_.push_back(add_layer("conv1", "bn1", in, channels, 3, stride));
    layers_.push_back(add_layer("conv2", "bn2", channels, out, 3, 1));
  }
  if (stride != 1 || in != out) downsample_ = add_layer("downsample.0", "downsample.1", in, out, 1, stride);
}

ResidualBlock::Layer ResidualBlock::add_layer(const std::string& convolution, const std::string& norm,
                                              int64_t in, int64_t out, int64_t k, int64_t stride) {
  return {
      &add_child<Conv2d>(convolution, in, out, k, ops::Conv2dOptions{.stride = stride, .pad = k / 2}, false),
      &add_child<BatchNorm2d>(norm, out)};
}

Variable ResidualBlock::forward(const Variable& x) {
  const Variable shortcut =
      downsample_.convolution ? downsample_.convolution->forward(x, *downsample_.norm, Activation::none) : x;
  Variable y = x;
  for (const Layer& layer : layers_) {
    const bool last = &layer == &layers_.back();
    y = layer.convolution->forward(y, *layer.norm, f_, last ? shortcut : Variable());
  }
  return y;
}

ResNet::ResNet(const ResNetPlan& plan, const ModelOptions& o, Activation f)
    : f_(f), average_pool_(o.pool == "average") {
  pooled_ = plan.has_stem() && has_imagenet_stem(o);
  const int64_t width = scaled_width(plan.channels, o.width);
  stem_ = &add_child<Conv2d>("conv1", o.input[2], width, pooled_ ? 7 : 3,
                             ops::Conv2dOptions{.stride = pooled_ ? 2 : 1, .pad = pooled_ ? 3 : 1}, false);
  stem_norm_ = &add_child<BatchNorm2d>("bn1", width);
  int64_t in = width;
  for (size_t stage = 0; stage < plan.blocks.size(); ++stage) {
    const int64_t channels = scaled_width(plan.channels << stage, o.width);
    for (int64_t i = 0; i < plan.blocks[stage]; ++i) {
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(i);
      const int64_t stride = stage > 0 && i == 0 ? 2 : 1;
      blocks_.push_back(&add_child<ResidualBlock>(name, in, channels, stride, plan.bottleneck, f));
      in = plan.bottleneck ? 4 * channels : channels;
    }
  }
  fc_ = &add_child<Linear>("fc", in, o.classes);
}

Variable ResNet::forward(const Variable& x) {
  Variable y = stem_->forward(x, *stem_norm_, f_);
  if (pooled_) y = average_pool_ ? ops::average_pool2d(y, 3, 2, 1) : ops::max_pool2d(y, 3, 2, 1);
  for (ResidualBlock* block : blocks_) y = block->forward(y);
  return fc_->forward(ops::global_average_pool(y));
}

std::vector<ModelInfo> resnets() {
  std::vector<ModelInfo> rows;
  for (const ResNetPlan& plan : resnet_plans()) {
    const std::string title = join("ResNet-", plan.depth);
    ModelInfo row{.name = join("resnet", plan.depth),
                  .help = title + " for small images",
                  .input = {32, 32, 3},
                  .classes = 10,
                  .make = [&plan](const ModelOptions& o, Activation f) {
                    return std::make_unique<ResNet>(plan, o, f);
                  }};
    if (plan.has_stem()) {
      row.help = title + (plan.bottleneck ? " of bottleneck blocks" : " of basic blocks");
      row.input = {224, 224, 3};
      row.classes = 1000;
      row.options = {"pool", "stem"};
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace espalier

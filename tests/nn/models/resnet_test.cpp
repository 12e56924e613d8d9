#include "espalier/nn/models/resnet.h"

#include <gtest/gtest.h>

#include "espalier/nn/network.h"
#include "nn/models/support.h"
#include "support/numbers.h"

namespace espalier {
namespace {

TEST(ResNet, Counts) {
  const std::tuple<ModelOptions, int64_t, int64_t> models[] = {
      {{.type = "resnet56", .input = {32, 32, 3}, .classes = 10}, 125'747'840, 855'770},
      {{.type = "resnet50", .input = {224, 224, 3}, .classes = 1000}, 4'089'184'256, 25'557'032},
      {{.type = "resnet50", .input = {32, 32, 3}, .classes = 100}, 1'298'014'208, 23'705'252},
  };
  for (const auto& [options, macs, parameters] : models) {
    const auto totals = network(options).totals;
    EXPECT_EQ(totals.macs, macs) << options.type;
    EXPECT_EQ(totals.parameters, parameters) << options.type;
  }
}

TEST(ResNet, HasThePublishedDepth) {
  for (const ResNetPlan& plan : resnet_plans()) {
    int64_t layers = 0;
    const auto model = make_model(small(join("resnet", plan.depth)), 0);
    for (const auto& [name, layer] : model->layers())
      layers += layer->type() != "batch_norm" && name.find("downsample") == name.npos;
    EXPECT_EQ(layers, plan.depth);
  }
}

TEST(ResNet, Layers) {
  EXPECT_EQ(layer_names(small("resnet18")), (Names{"conv1",
                                                   "bn1",
                                                   "layer1.0.conv1",
                                                   "layer1.0.bn1",
                                                   "layer1.0.conv2",
                                                   "layer1.0.bn2",
                                                   "layer1.1.conv1",
                                                   "layer1.1.bn1",
                                                   "layer1.1.conv2",
                                                   "layer1.1.bn2",
                                                   "layer2.0.conv1",
                                                   "layer2.0.bn1",
                                                   "layer2.0.conv2",
                                                   "layer2.0.bn2",
                                                   "layer2.0.downsample.0",
                                                   "layer2.0.downsample.1",
                                                   "layer2.1.conv1",
                                                   "layer2.1.bn1",
                                                   "layer2.1.conv2",
                                                   "layer2.1.bn2",
                                                   "layer3.0.conv1",
                                                   "layer3.0.bn1",
                                                   "layer3.0.conv2",
                                                   "layer3.0.bn2",
                                                   "layer3.0.downsample.0",
                                                   "layer3.0.downsample.1",
                                                   "layer3.1.conv1",
                                                   "layer3.1.bn1",
                                                   "layer3.1.conv2",
                                                   "layer3.1.bn2",
                                                   "layer4.0.conv1",
                                                   "layer4.0.bn1",
                                                   "layer4.0.conv2",
                                                   "layer4.0.bn2",
                                                   "layer4.0.downsample.0",
                                                   "layer4.0.downsample.1",
                                                   "layer4.1.conv1",
                                                   "layer4.1.bn1",
                                                   "layer4.1.conv2",
                                                   "layer4.1.bn2",
                                                   "fc"}));
}

TEST(ResNet, TheStemIsSmallForSmallImagesUnlessTold) {
  ModelOptions options = small("resnet18");
  const auto after = [&](int64_t height, int64_t width) {
    options.input = {height, width, 3};
    return shape_behind(options, "layer1.0.conv1");
  };
  EXPECT_EQ(after(63, 80), (Shape{1, 63, 80, 6}));
  EXPECT_EQ(after(64, 80), (Shape{1, 16, 20, 6}));
  options.stem = "imagenet";
  EXPECT_EQ(after(32, 32), (Shape{1, 8, 8, 6}));
  options.stem = "small";
  EXPECT_EQ(after(64, 64), (Shape{1, 64, 64, 6}));
  options = small("resnet20");
  EXPECT_EQ(after(64, 64), (Shape{1, 64, 64, 2}));
}

TEST(ResNet, TheImagenetStemPoolsAsTold) {
  ModelOptions options = small("resnet18");
  options.stem = "imagenet";
  const Variable x(random_tensor({2, 17, 9, 2}, 1));
  const Tensor largest = (*make_model(options, 0))(x).value();
  options.pool = "average";
  EXPECT_FALSE(same_bits((*make_model(options, 0))(x).value(), largest));
}

// In inference, with statistics 0 and 1, a norm only divides by sqrt(1 + eps).
TEST(ResNet, ABlockByItsOps) {
  for (const bool bottleneck : {false, true})
    for (const int64_t stride : {1, 2}) {
      const int64_t in = bottleneck ? 12 : 3;  // at stride 1 the shortcut is x
      ResidualBlock block(in, 3, stride, bottleneck, Activation::relu);
      uint64_t seed = 1;
      for (Parameter* parameter : block.parameters())
        if (parameter->role == Role::weight)
          parameter->value().copy_from(random_tensor(parameter->shape(), seed++));
      block.set_training(false);
      EXPECT_EQ(block.find("downsample.0.weight") != nullptr, stride == 2);
      const Variable x(random_tensor({2, 5, 6, in}, 20));
      const auto layer = [&](const Variable& v, const char* name, int64_t layer_stride) {
        const Variable w = block.find(join(name, ".weight"))->variable;
        const int64_t pad = w.shape()[1] / 2;
        return ops::scale(ops::conv2d(v, w, {}, {.stride = layer_stride, .pad = pad}),
                          1.0f / std::sqrt(1.0f + 1e-5f));
      };
      const auto relu = [](const Variable& v) { return ops::activation(v, Activation::relu); };
      Variable y = relu(layer(x, "conv1", bottleneck ? 1 : stride));
      if (bottleneck) y = relu(layer(y, "conv2", stride));
      y = layer(y, bottleneck ? "conv3" : "conv2", 1);
      y = relu(ops::add(y, stride == 2 ? layer(x, "downsample.0", 2) : x));
      EXPECT_TRUE(near(block(x).value(), doubles(y.value().span<float>()), 1e-5)) << bottleneck << stride;
    }
}

TEST(ResNet, BadOptions) {
  ModelOptions options = small("resnet50");
  options.stem = "smal";
  EXPECT_EQ(refusal(options), "model: no stem 'smal', expected small or imagenet");
  options = small("resnet56");
  options.stem = "imagenet";
  EXPECT_EQ(refusal(options), "model: resnet56 has no choice of a stem, but found 'imagenet'");
  EXPECT_EQ(refusal(small("resnet49")), "model: no type 'resnet49', did you mean 'resnet44'?");
}

TEST(ResNet, AnySizeOfImage) {
  for (const char* name : {"resnet20", "resnet18", "resnet50"})
    for (const char* stem : {"small", "imagenet"}) {
      ModelOptions options = small(name);
      options.input = {1, 3, 5};
      if (name != std::string("resnet20")) options.stem = stem;
      EXPECT_EQ((*make_model(options, 0))(Variable(random_tensor({4, 1, 3, 5}, 1))).shape(), (Shape{4, 7}))
          << name;
    }
}

}  // namespace
}  // namespace espalier

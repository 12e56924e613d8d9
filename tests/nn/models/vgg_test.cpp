#include <gtest/gtest.h>

#include "espalier/nn/network.h"
#include "nn/models/support.h"
#include "support/numbers.h"

namespace espalier {
namespace {

TEST(Vgg, CountsOf19) {
  const auto totals = network({.type = "vgg19", .input = {32, 32, 3}, .classes = 100}).totals;
  EXPECT_EQ(totals.macs, 511'428'608);
  EXPECT_EQ(totals.parameters, 20'086'692);
}

TEST(Vgg, HasThePublishedDepth) {
  for (const int depth : {11, 13, 16, 19}) {
    int64_t convolutions = 0;
    const auto model = make_model(small(join("vgg", depth)), 0);
    for (const auto& [name, layer] : model->layers()) convolutions += layer->type() == "conv2d";
    EXPECT_EQ(convolutions, depth - 3) << "the original has three linear layers after them";
  }
}

// torchvision's numbers of vgg11 without norms and of vgg11_bn, which count activations and poolings.
TEST(Vgg, FeaturesAreNumberedAsTorchvisions) {
  ModelOptions options = small("vgg11");
  options.batch_norm = false;
  EXPECT_EQ(layer_names(options),
            (Names{"features.0", "features.3", "features.6", "features.8", "features.11", "features.13",
                   "features.16", "features.18", "classifier"}));
  options.batch_norm = true;
  EXPECT_EQ(layer_names(options),
            (Names{"features.0", "features.1", "features.4", "features.5", "features.8", "features.9",
                   "features.11", "features.12", "features.15", "features.16", "features.18", "features.19",
                   "features.22", "features.23", "features.25", "features.26", "classifier"}));
}

TEST(Vgg, EveryConvolutionHasABias) {
  for (const bool batch_norm : {true, false}) {
    ModelOptions options = small("vgg13");
    options.batch_norm = batch_norm;
    const auto model = make_model(options, 0);
    for (const auto& [name, layer] : model->layers()) EXPECT_NE(model->find(name + ".bias"), nullptr) << name;
  }
}

// Without norms, op by op.
TEST(Vgg, ByItsOps) {
  for (const char* pool : {"max", "average"}) {
    ModelOptions options = small("vgg11");
    options.batch_norm = false;
    options.pool = pool;
    options.activation = "gelu";
    const auto model = make_model(options, 5);
    const auto p = [&](int number, const char* kind) {
      return model->find(join("features.", number, ".", kind))->variable;
    };
    const Variable x(random_tensor({2, 17, 9, 2}, 1));
    Variable y = x;
    for (const auto& [number, pooled] : {std::pair{0, true},
                                         {3, true},
                                         {6, false},
                                         {8, true},
                                         {11, false},
                                         {13, false},
                                         {16, false},
                                         {18, false}}) {
      y = ops::activation(ops::conv2d(y, p(number, "weight"), p(number, "bias"), {.pad = 1}),
                          Activation::gelu);
      if (pooled) y = pool == std::string("max") ? ops::max_pool2d(y, 2) : ops::average_pool2d(y, 2);
    }
    EXPECT_EQ(y.shape(), (Shape{2, 2, 1, 51})) << "three poolings, and a tenth of the width";
    y = ops::linear(ops::global_average_pool(y), model->find("classifier.weight")->variable,
                    model->find("classifier.bias")->variable);
    EXPECT_TRUE(near((*model)(x).value(), doubles(y.value().span<float>()), 1e-5)) << pool;
  }
}

TEST(Vgg, BadOptions) {
  ModelOptions options = small("vgg16");
  options.input = {8, 7, 3};
  EXPECT_EQ(refusal(options), "model: vgg16 needs an input of at least 8x8 pixels, found 8x7");
  options.input = {8, 8, 3};
  EXPECT_EQ(refusal(options), "accepted");
  options.stem = "small";
  EXPECT_EQ(refusal(options), "model: vgg16 has no choice of a stem, but found 'small'");
  options.type = "vgg18";
  EXPECT_EQ(refusal(options), "model: no type 'vgg18', did you mean 'vgg11'?");
}

}  // namespace
}  // namespace espalier

#include "espalier/nn/models/models.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "espalier/core/allocator.h"
#include "espalier/graph/ops.h"
#include "espalier/nn/network.h"
#include "espalier/nn/sequential.h"
#include "espalier/nn/state_dict.h"
#include "nn/models/support.h"
#include "support/bad_input.h"
#include "support/formulas.h"
#include "support/numbers.h"
#include "support/places.h"

namespace espalier {
namespace {

std::vector<std::pair<std::string, Shape>> shapes(const ModelOptions& options) {
  std::vector<std::pair<std::string, Shape>> all;
  const auto model = make_model(options, 0);
  for (const Parameter* parameter : model->parameters())
    all.emplace_back(parameter->name, parameter->shape());
  return all;
}
using Expected = std::vector<std::pair<std::string, Shape>>;

TEST(Models, TheCatalogueCanBeMade) {
  for (const ModelInfo& info : models()) {
    if (info.input.axes() == 0) continue;                       // a file says: graph_module_test.cpp
    const int64_t side = std::min<int64_t>(info.input[0], 64);  // as deep, but quick
    const Shape input{side, side, info.input[2]};
    const auto model =
        make_model({.type = info.name, .input = input, .classes = info.classes, .width = 0.05}, 0);
    const Variable x(random_tensor({3, side, side, input[2]}, 1));
    EXPECT_EQ((*model)(x).shape(), (Shape{3, info.classes})) << info.name;
    EXPECT_FALSE(info.help.empty());
  }
}

TEST(Models, WhichModelsAnOptionConcerns) {
  EXPECT_EQ(models().names_with("hidden"), Names{"mlp"});
  EXPECT_EQ(models().names_with("batch_norm"), (Names{"vgg11", "vgg13", "vgg16", "vgg19"}));
  EXPECT_EQ(models().names_with("heads"), Names{"vit"});
  const Names stems = models().names_with("stem");
  EXPECT_TRUE(std::ranges::count(stems, "resnet18") == 1 && std::ranges::count(stems, "mobilenetv2") == 1);
  EXPECT_EQ(std::ranges::count(stems, "resnet20") + std::ranges::count(stems, "vgg19"), 0)
      << "of small images";
  EXPECT_EQ(models().find("vgg19")->classes, 100);
  EXPECT_EQ(models().find("vgg"), nullptr);
}

/// Of each model that has recorded figures (bench/golden.py).
TEST(Models, StateDictsArePyTorchs) {
  int recorded = 0;
  for (const std::string& name : models().names()) {
    std::ifstream file(join(source_folder(), "/tests/golden/", name, ".json"));
    if (!file) continue;
    ++recorded;
    const auto record = nlohmann::json::parse(file);
    const auto input = record["model"]["input"].get<std::vector<int64_t>>();
    const auto model = make_model(
        {.type = name, .input = Shape(std::span(input)), .classes = record["model"]["classes"]}, 0);
    const auto parameters = model->parameters();
    ASSERT_EQ(parameters.size(), record["state_dict"].size()) << name;
    for (size_t i = 0; i < parameters.size(); ++i) {
      EXPECT_EQ(parameters[i]->name, record["state_dict"][i][0]);
      EXPECT_EQ(file_shape(*parameters[i]),
                Shape(std::span<const int64_t>(record["state_dict"][i][1].get<std::vector<int64_t>>())));
    }
  }
  EXPECT_GE(recorded, 11);
}

TEST(Models, MlpHasTheWidthsAskedFor) {
  EXPECT_EQ(shapes({.input = {4, 5, 1}, .classes = 3, .hidden = {7, 6}}), (Expected{{"fc1.weight", {7, 20}},
                                                                                    {"fc1.bias", {7}},
                                                                                    {"fc2.weight", {6, 7}},
                                                                                    {"fc2.bias", {6}},
                                                                                    {"fc3.weight", {3, 6}},
                                                                                    {"fc3.bias", {3}}}));
  EXPECT_EQ(shapes({.input = {4, 5, 1}, .classes = 3, .hidden = {}}),
            (Expected{{"fc1.weight", {3, 20}}, {"fc1.bias", {3}}}));
}

TEST(Models, WidthScalesWhatIsHidden) {
  EXPECT_EQ(scaled_width(20, 0.5), 10);
  EXPECT_EQ(scaled_width(5, 0.5), 3) << "to the nearest, halves up";
  EXPECT_EQ(scaled_width(20, 0.001), 1) << "at least 1";
  EXPECT_EQ(shapes({.type = "lenet300", .width = 0.5})[2], (Expected::value_type{"fc2.weight", {50, 150}}));
  EXPECT_EQ(shapes({.type = "lenet300", .width = 0.5})[4], (Expected::value_type{"fc3.weight", {10, 50}}));
  const auto lenet = shapes({.type = "lenet5", .width = 0.5});
  EXPECT_EQ(lenet[2], (Expected::value_type{"conv2.weight", {25, 5, 5, 10}}));
  EXPECT_EQ(lenet[4], (Expected::value_type{"fc1.weight", {250, 400}}));
}

/// z through the layers of an MLP, by hand
Doubles mlp_by_hand(Module& model, Doubles z, Activation f) {
  const auto parameters = model.parameters();
  for (size_t layer = 0; layer < parameters.size(); layer += 2) {
    const Tensor &w = parameters[layer]->value(), &b = parameters[layer + 1]->value();
    Doubles y;
    for (int64_t o = 0; o < w.shape()[0]; ++o) {
      double sum = b.f32()[o];
      for (int64_t i = 0; i < w.shape()[1]; ++i)
        sum += double{w.f32()[o * w.shape()[1] + i]} * z[static_cast<size_t>(i)];
      y.push_back(layer + 2 < parameters.size() ? activated(f, sum) : sum);
    }
    z = y;
  }
  return z;
}

TEST(Models, MlpByHand) {
  for (const char* name : {"relu", "gelu"}) {
    const auto model =
        make_model({.input = {4, 5, 2}, .classes = 3, .hidden = {17, 9}, .activation = name}, 5);
    const Tensor x = random_tensor({1, 4, 5, 2}, 1);
    const Activation f = name == std::string("relu") ? Activation::relu : Activation::gelu;
    EXPECT_TRUE(near((*model)(Variable(x)).value(), mlp_by_hand(*model, doubles(x.span<float>()), f), 1e-6));
  }
}

TEST(Models, AnMlpsFirstColumnsAreInChannelOrderInFiles) {
  const auto model = make_model({.input = {2, 3, 4}, .hidden = {5, 6}}, 0);
  const Parameter& first = *model->find("fc1.weight");
  EXPECT_EQ(first.layout.kind, FileLayout::flattened);
  EXPECT_EQ(first.layout.positions, 6);
  EXPECT_EQ(model->find("fc2.weight")->layout.kind, FileLayout::same);
  const Tensor file = to_file_layout(first, first.value());
  for (int64_t pixel = 0; pixel < 6; ++pixel)
    for (int64_t c = 0; c < 4; ++c)
      EXPECT_EQ(file.f32()[24 + c * 6 + pixel], first.value().f32()[24 + pixel * 4 + c]);
}

TEST(Models, LeNet5ByItsOps) {
  for (const char* pool : {"max", "average"})
    for (const char* activation : {"relu", "gelu"}) {
      const auto model = make_model(
          {.type = "lenet5", .input = {17, 20, 2}, .width = 0.2, .activation = activation, .pool = pool}, 5);
      const auto p = [&](const char* name) { return model->find(name)->variable; };
      const auto pooled = [&](const Variable& v) {
        return pool == std::string("max") ? ops::max_pool2d(v, 2) : ops::average_pool2d(v, 2);
      };
      const Activation f = activation == std::string("relu") ? Activation::relu : Activation::gelu;
      const Variable x(random_tensor({3, 17, 20, 2}, 1));
      Variable y = pooled(ops::activation(ops::conv2d(x, p("conv1.weight"), p("conv1.bias")), f));
      y = pooled(ops::activation(ops::conv2d(y, p("conv2.weight"), p("conv2.bias")), f));
      y = ops::activation(ops::linear(ops::flatten(y), p("fc1.weight"), p("fc1.bias")), f);
      y = ops::linear(y, p("fc2.weight"), p("fc2.bias"));
      EXPECT_TRUE(near((*model)(x).value(), doubles(y.value().span<float>()), 1e-6))
          << pool << " " << activation;
    }
}

TEST(Models, BadOptions) {
  EXPECT_EQ(refusal({.type = "lenet"}), "model: no type 'lenet', did you mean 'lenet300'?");
  EXPECT_EQ(refusal({.type = "transformer"}), "model: no type 'transformer'");
  EXPECT_EQ(refusal({.activation = "elu"}), "model: no activation 'elu', expected relu or gelu");
  EXPECT_EQ(refusal({.pool = "min"}), "model: no pooling 'min', expected max or average");
  EXPECT_EQ(refusal({.type = "lenet5", .input = {28, 15, 1}}),
            "model: lenet5 needs an input of at least 16x16 pixels, found 28x15");
  EXPECT_EQ(refusal({.type = "lenet5", .input = {16, 16, 1}}), "accepted");
}

/// A model that a program adds, once in this process: a linear layer behind one of `units` for each class.
const ModelInfo& registered() {
  static const bool once = [] {
    models().add(
        {.name = "funnel",
         .help = "two linear layers",
         .input = {4, 4, 1},
         .classes = 3,
         .extra = {{.name = "units", .help = "hidden ones a class", .value = int64_t{2}, .from = 1, .to = 9}},
         .make = [](const ModelOptions& o, Activation f) {
           std::vector<LayerSpec> layers{{.type = "flatten"},
                                         {.type = "linear", .outputs = o.classes * o.extra.whole("units")},
                                         {.type = "activation"},
                                         {.type = "linear"}};
           LayerContext context{.classes = o.classes, .width = o.width, .activation = f};
           return std::make_unique<Sequential>(layers, o.input, context, "model: funnel");
         }});
    return true;
  }();
  EXPECT_TRUE(once);
  return models().named("funnel");
}

TEST(Models, OneThatAProgramAddsIsMadeByItsName) {
  const ModelInfo& info = registered();
  const ModelOptions two{.type = "funnel", .input = info.input, .classes = info.classes};
  ModelOptions five = two;
  five.extra = {{"units", int64_t{5}}};
  EXPECT_EQ(shapes(two)[0].second, (Shape{6, 16})) << "the default";
  EXPECT_EQ(shapes(five)[0].second, (Shape{15, 16}));
  EXPECT_EQ(shapes(five)[2].second, (Shape{3, 15}));
}

TEST(Models, ExtraOptionsAreTheRowsOwn) {
  registered();
  const auto with = [](const char* type, const char* name, const ExtraValue& value) {
    ModelOptions options{.type = type};
    options.extra.set(name, value);
    return refusal(options);
  };
  EXPECT_EQ(with("funnel", "unit", int64_t{5}), "model funnel: no option 'unit', did you mean 'units'?");
  EXPECT_EQ(with("funnel", "units", int64_t{10}), "model funnel: units: found 10, expected from 1 to 9");
  EXPECT_EQ(with("funnel", "units", 2.5),
            "model funnel: option 'units' is a whole number, and a number was given");
  EXPECT_EQ(with("mlp", "units", int64_t{5}), "model mlp: no option 'units'");
}

TEST(Models, ANameIsTakenOnce) {
  registered();
  for (const char* name : {"resnet20", "funnel"})
    EXPECT_EQ(message_of([&] { models().add({.name = name, .help = "", .make = {}}); }),
              join("model: '", name, "' is there already"));
}

TEST(Models, WhatCannotFitIsRefusedBeforeMemoryIsTaken) {
  const auto refusal = [](const ModelOptions& options) -> std::string {
    try {
      make_model(options, 0);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  const size_t taken = allocator::stats().peak_bytes;
  const std::string wide = refusal({.hidden = {1'000'000, 1'000'000}});
  EXPECT_TRUE(wide.starts_with("model: mlp needs 4.0 TB (parameters 4.0 TB, activations of an image 8 MB); "))
      << wide;
  const std::string vast = refusal({.type = "resnet50", .input = {1'000'000, 1'000'000, 3}});
  EXPECT_TRUE(vast.starts_with("model: resnet50 needs ")) << vast;
  EXPECT_EQ(allocator::stats().peak_bytes, taken);
}

TEST(Models, OnMetaHaveTheSameShapes) {
  for (const ModelInfo& info : models()) {
    if (info.input.axes() == 0) continue;
    if (info.input[0] > 100 && info.name != "resnet18") continue;  // would be slow in numbers
    const ModelOptions options{.type = info.name, .input = info.input, .classes = info.classes, .width = 0.1};
    const auto model = make_model(options, 0);
    const int64_t macs = Network(*model, info.input).totals.macs;
    const MetaDevice shapes_alone;
    const auto shapes = make_model(options, 0);
    const auto all = model->parameters(), same = shapes->parameters();
    ASSERT_EQ(all.size(), same.size());
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(all[i]->shape(), same[i]->shape()) << all[i]->name;
      EXPECT_EQ(same[i]->value().device(), Device::meta) << all[i]->name;
    }
    EXPECT_EQ(Network(*shapes, info.input).totals.macs, macs);
  }
}

}  // namespace
}  // namespace espalier

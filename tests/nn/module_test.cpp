#include "espalier/nn/module.h"

#include <gtest/gtest.h>

#include "espalier/nn/layers.h"

namespace espalier {
namespace {

class Block : public Module {
 public:
  Block() {
    add_child<Conv2d>("conv", 3, 3, 1);
    add_parameter("scale", Role::scale, Tensor::full({3}, 1));
    add_parameter("seen", Role::buffer, Tensor::zeros({1}));
  }
  Variable forward(const Variable& x) override { return x; }
  std::string type() const override { return "block"; }
};

class Net : public Module {
 public:
  Net() {
    add_child<Block>("stem");
    adopt("head", std::make_unique<Linear>(4, 2));
  }
  Variable forward(const Variable& x) override { return x; }
  std::string type() const override { return "net"; }
};

/// One level more: names grow from the outside after the children have theirs.
class Wrapped : public Module {
 public:
  Wrapped() { add_child<Net>("module"); }
  Variable forward(const Variable& x) override { return x; }
  std::string type() const override { return "wrapped"; }
};

std::vector<std::string> names(Module& model) {
  std::vector<std::string> all;
  for (const Parameter* parameter : model.parameters()) all.push_back(parameter->name);
  return all;
}

TEST(Module, NamesAndOrderAreThoseOfConstruction) {
  Net net;
  EXPECT_EQ(names(net), (std::vector<std::string>{"stem.scale", "stem.seen", "stem.conv.weight",
                                                  "stem.conv.bias", "head.weight", "head.bias"}));
  Wrapped wrapped;
  EXPECT_EQ(names(wrapped)[2], "module.stem.conv.weight");
  EXPECT_EQ(names(wrapped)[5], "module.head.bias");
}

TEST(Module, VariablesCarryTheFullName) {
  Wrapped wrapped;
  for (const Parameter* parameter : wrapped.parameters())
    EXPECT_EQ(parameter->variable.name(), parameter->name);
}

TEST(Module, LayersAreModulesWithParametersOfTheirOwn) {
  Wrapped wrapped;
  std::vector<std::pair<std::string, std::string>> found;
  for (const auto& [name, layer] : wrapped.layers()) found.emplace_back(name, layer->type());
  EXPECT_EQ(found, (std::vector<std::pair<std::string, std::string>>{
                       {"module.stem", "block"}, {"module.stem.conv", "conv2d"}, {"module.head", "linear"}}));
}

TEST(Module, FindsByFullName) {
  Net net;
  ASSERT_NE(net.find("stem.conv.bias"), nullptr);
  EXPECT_EQ(net.find("stem.conv.bias")->shape(), Shape{3});
  EXPECT_EQ(net.find("conv.bias"), nullptr);
}

TEST(Module, OnlyBuffersRequireNoGradient) {
  Net net;
  for (const Parameter* parameter : net.parameters())
    EXPECT_EQ(parameter->variable.requires_gradient(), parameter->name != "stem.seen") << parameter->name;
}

TEST(Module, TrainingReachesEveryChild) {
  Wrapped wrapped;
  EXPECT_TRUE(wrapped.training());
  wrapped.set_training(false);
  for (const auto& [name, layer] : wrapped.layers()) EXPECT_FALSE(layer->training()) << name;
  wrapped.set_training(true);
  for (const auto& [name, layer] : wrapped.layers()) EXPECT_TRUE(layer->training()) << name;
}

}  // namespace
}  // namespace espalier

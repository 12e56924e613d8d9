#include "espalier/nn/module.h"

#include <gtest/gtest.h>

#include "espalier/nn/layers.h"
#include "support/bad_input.h"

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

TEST(Module, ChildrenOfOneNameAreRefused) {
  class Twice : public Module {
   public:
    Twice() {
      add_child<Linear>("a", 4, 2);
      add_child<Linear>("a", 2, 2);
    }
    Variable forward(const Variable& x) override { return x; }
    std::string type() const override { return "twice"; }
  };
  EXPECT_EQ(message_of([] { Twice(); }), "twice: has a child 'a' already");
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

/// conv, norm, linear; keeps what each put out.
struct Chain : Module {
  Chain()
      : conv(add_child<Conv2d>("conv", 1, 2, 3)),
        norm(add_child<BatchNorm2d>("norm", 2)),
        middle(add_child<Linear>("middle", 2, 3)),
        head(add_child<Linear>("head", 3, 2)) {}
  Variable forward(const Variable& x) override {
    made = {conv.forward(x, norm, Activation::relu)};
    made.push_back(middle.forward(ops::global_average_pool(made[0])));
    made.push_back(head.forward(made[1]));
    return made.back();
  }
  std::string type() const override { return "chain"; }
  Conv2d& conv;
  BatchNorm2d& norm;
  Linear &middle, &head;
  std::vector<Variable> made;
};

std::vector<std::string> with_gradients(Module& model) {
  std::vector<std::string> names;
  for (const Parameter* parameter : model.parameters())
    if (parameter->gradient().defined()) names.push_back(parameter->name);
  return names;
}

TEST(Frozen, NothingIsRecordedBelowTheLowestLayerThatLearns) {
  using Names = std::vector<std::string>;
  Chain net;
  const Variable x(Tensor::full({2, 4, 4, 1}, 1.0f));
  ops::sum(net.forward(x)).backward();  // what a step before has left
  const float mean = net.find("norm.running_mean")->value().f32()[0];
  {
    const Frozen frozen(net, {&net.conv, &net.norm, &net.middle});
    EXPECT_EQ(with_gradients(net), (Names{"head.weight", "head.bias"})) << "the others' are let go";
    ops::sum(net.forward(x)).backward();
    for (const int i : {0, 1})
      EXPECT_EQ(net.made[i].state()->maker, nullptr) << "no history, and so no backward";
    EXPECT_EQ(with_gradients(net), (Names{"head.weight", "head.bias"}));
    net.set_training(false);
    net.set_training(true);
    EXPECT_TRUE(net.training() && net.head.training());
    EXPECT_FALSE(net.norm.training());
    net.forward(x);
    EXPECT_EQ(net.find("norm.running_mean")->value().f32()[0], mean);
    EXPECT_EQ(*net.find("norm.num_batches_tracked")->value().data<int64_t>(), 1);
  }
  EXPECT_TRUE(net.norm.training());
  EXPECT_FALSE(net.norm.frozen() || net.find("conv.weight")->frozen());
  ops::sum(net.forward(x)).backward();
  EXPECT_EQ(with_gradients(net).size(), 8u);
}

TEST(Frozen, GradientsPassThroughToWhatLearnsBelow) {
  Chain net, same;
  for (Chain* one : {&net, &same}) {
    for (Parameter* parameter : one->parameters())
      if (parameter->role == Role::weight) parameter->value().fill(0.5f);
    one->norm.set_training(false);
  }
  const Variable x(Tensor::full({2, 4, 4, 1}, 1.0f));
  ops::sum(same.forward(x)).backward();
  const Frozen frozen(net, {&net.norm, &net.middle, &net.head});
  ops::sum(net.forward(x)).backward();
  EXPECT_EQ(with_gradients(net), (std::vector<std::string>{"conv.weight", "conv.bias"}));
  const float* expected = same.find("conv.weight")->gradient().f32();
  for (int i = 0; i < 9; ++i) EXPECT_FLOAT_EQ(net.find("conv.weight")->gradient().f32()[i], expected[i]);
  EXPECT_NE(expected[0], 0);
}

}  // namespace
}  // namespace espalier

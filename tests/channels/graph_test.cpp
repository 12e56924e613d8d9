#include "espalier/channels/graph.h"

#include <gtest/gtest.h>

#include "espalier/channels/surgery.h"
#include "espalier/nn/models/models.h"
#include "prune/small_net.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

/// "16: conv1.weight:0 bn1.weight:0 | conv2.weight:3", what is cut along outputs before the bar, along inputs
/// after it; a star where the group is fixed. Biases and running statistics go with their weights: left out.
std::string text(const ChannelGroup& group) {
  std::string outs, ins;
  for (const GroupMember& member : group.members) {
    if (!member.parameter->name.ends_with(".weight")) continue;
    (member.out ? outs : ins) +=
        " " + std::string(layer_name(member.parameter->name)) + ":" + std::to_string(member.axis);
  }
  return std::to_string(group.channels) + (group.fixed.empty() ? ":" : "*:") + outs + " |" + ins;
}

std::vector<std::string> groups_of(Module& model, const Shape& input) {
  const Network network(model, input);
  std::vector<std::string> all;
  for (const ChannelGroup& group : channel_graph(model, network.graph).groups) all.push_back(text(group));
  return all;
}

using Texts = std::vector<std::string>;

TEST(Graph, TheWorkedExample) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 4), &b = net.conv("b", 4, 4);
  Linear& fc = net.linear("fc", 4, 10);
  net.pass = [&](const Variable& x) {
    const Variable y = a.forward(x);
    return fc.forward(ops::global_average_pool(ops::add(y, b.forward(relu(y)))));
  };
  EXPECT_EQ(groups_of(net, {6, 6, 3}), (Texts{"4: a:0 b:0 | b:3 fc:1", "10*: fc:0 |"}));
  net.pass = [&](const Variable& x) {
    return fc.forward(ops::global_average_pool(b.forward(relu(a.forward(x)))));
  };
  EXPECT_EQ(groups_of(net, {6, 6, 3}), (Texts{"4: a:0 | b:3", "4: b:0 | fc:1", "10*: fc:0 |"}));
}

TEST(Graph, TheLayersOfTheOutput) {
  SmallNet net;
  Linear &a = net.linear("a", 3, 3), &b = net.linear("b", 3, 2), &c = net.linear("c", 3, 2);
  net.pass = [&](const Variable& x) {
    const Variable y = a.forward(ops::global_average_pool(x));
    const Variable first = b.forward(y);
    return ops::add(first, c.forward(relu(y)));
  };
  EXPECT_EQ(output_layers(net, {5, 5, 3}), (Texts{"b", "c"}));
  const auto resnet = make_model({.type = "resnet20", .input = {16, 16, 3}, .width = 0.25}, 0);
  EXPECT_EQ(output_layers(*resnet, {16, 16, 3}), Texts{"fc"});
  EXPECT_EQ(output_layers(*make_model({.type = "mlp"}, 0), {28, 28, 1}), Texts{"fc3"});
}

TEST(Graph, ABiasAndANormGoWithTheirChannels) {
  SmallNet net;
  Conv2d& a = net.conv("a", 3, 4);
  BatchNorm2d& n = net.norm("n", 4);
  Linear& fc = net.linear("fc", 4, 2);
  net.pass = [&](const Variable& x) {
    return fc.forward(ops::global_average_pool(a.forward(x, n, Activation::relu)));
  };
  const Network network(net, {5, 5, 3});
  const auto groups = channel_graph(net, network.graph).groups;
  std::vector<std::string> members;
  for (const GroupMember& member : groups.at(0).members) {
    members.push_back(member.parameter->name);
    EXPECT_EQ(member.channel_of, (std::vector<int32_t>{0, 1, 2, 3})) << members.back();
  }
  EXPECT_EQ(members, (Texts{"a.weight", "a.bias", "n.weight", "n.bias", "n.running_mean", "n.running_var",
                            "fc.weight"}));
}

TEST(Graph, BehindAFlattenAChannelIsAColumnForEachPixel) {
  SmallNet net;
  Conv2d& a = net.conv("a", 1, 3);
  Linear& fc = net.linear("fc", 12, 2, 4);
  net.pass = [&](const Variable& x) { return fc.forward(ops::flatten(ops::max_pool2d(a.forward(x), 2))); };
  const Network network(net, {4, 4, 1});
  const auto groups = channel_graph(net, network.graph).groups;
  ASSERT_EQ(text(groups.at(0)), "3: a:0 | fc:1");
  EXPECT_EQ(groups[0].members.back().channel_of, (std::vector<int32_t>{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2}));
}

TEST(Graph, AConcatenationOfTwoIsTwoGroupsOfItsReader) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 2), &b = net.conv("b", 3, 3);
  Conv2d& c = net.conv("c", 5, 1);
  net.pass = [&](const Variable& x) { return c.forward(ops::concat({a.forward(x), b.forward(x)})); };
  const Network network(net, {5, 5, 3});
  const auto groups = channel_graph(net, network.graph).groups;
  ASSERT_EQ((Texts{text(groups.at(0)), text(groups.at(1))}), (Texts{"2: a:0 | c:3", "3: b:0 | c:3"}));
  EXPECT_EQ(groups[0].members.back().channel_of, (std::vector<int32_t>{0, 1, -1, -1, -1}));
  EXPECT_EQ(groups[1].members.back().channel_of, (std::vector<int32_t>{-1, -1, 0, 1, 2}));
}

TEST(Graph, WhatIsConcatenatedWithItselfIsReadTwice) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 2), &b = net.conv("b", 4, 1);
  net.pass = [&](const Variable& x) {
    const Variable y = a.forward(x);
    return b.forward(ops::concat({y, y}));
  };
  const Network network(net, {5, 5, 3});
  const auto groups = channel_graph(net, network.graph).groups;
  ASSERT_EQ(text(groups.at(0)), "2: a:0 | b:3");
  EXPECT_EQ(groups[0].members.back().channel_of, (std::vector<int32_t>{0, 1, 0, 1}));
  EXPECT_EQ(groups[0].multiplicity, 1) << "a makes each once";
}

TEST(Graph, SlicesOfOneThatAreAddedHalveItsChannels) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 6), &b = net.conv("b", 3, 1);
  net.pass = [&](const Variable& x) {
    const Variable y = a.forward(x);
    return b.forward(ops::add(ops::slice(y, 0, 3), ops::slice(y, 3, 3)));
  };
  const Network network(net, {5, 5, 3});
  const auto groups = channel_graph(net, network.graph).groups;
  ASSERT_EQ(text(groups.at(0)), "3: a:0 | b:3");
  EXPECT_EQ(groups[0].members.front().channel_of, (std::vector<int32_t>{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(groups[0].multiplicity, 2);
  net.pass = [&](const Variable& x) {  // a's channels 0, 2, 4 and 1, 3 are one each; 5 is read by none
    const Variable y = a.forward(x);
    return b.forward(ops::add(ops::slice(y, 0, 3), ops::slice(y, 2, 3)));
  };
  const Network overlapping(net, {5, 5, 3});
  const auto uneven = channel_graph(net, overlapping.graph).groups;
  EXPECT_EQ(uneven.at(0).members.front().channel_of, (std::vector<int32_t>{0, 1, 0, 1, 0, 2}));
  EXPECT_EQ(uneven[0].multiplicity, 1) << "the least of 3, 2 and 1";
}

TEST(Graph, WhatTheFirstMakerDoesNotMakeHasNoSayInMultiplicity) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 2), &b = net.conv("b", 3, 4), &c = net.conv("c", 4, 1);
  net.pass = [&](const Variable& x) {
    const Variable y = a.forward(x), z = b.forward(x);
    return c.forward(ops::concat({ops::add(ops::slice(z, 0, 2), y), ops::slice(z, 2, 2)}));
  };
  const Network network(net, {5, 5, 3});
  const auto groups = channel_graph(net, network.graph).groups;
  ASSERT_EQ(text(groups.at(0)), "4: a:0 b:0 | c:3");
  EXPECT_EQ(groups[0].multiplicity, 1);
}

TEST(Graph, ADepthwiseConvolutionFollowsItsInput) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 4), &b = net.conv("b", 4, 8, 4), &c = net.conv("c", 8, 1);
  net.pass = [&](const Variable& x) { return c.forward(b.forward(a.forward(x))); };
  const Network network(net, {5, 5, 3});
  const auto groups = channel_graph(net, network.graph).groups;
  ASSERT_EQ(text(groups.at(0)), "4: a:0 b:0 | c:3");
  for (const GroupMember& member : groups[0].members) {
    const std::string& name = member.parameter->name;
    if (name == "b.weight" || name == "c.weight") {
      EXPECT_EQ(member.channel_of, (std::vector<int32_t>{0, 0, 1, 1, 2, 2, 3, 3})) << name;
    }
  }
  EXPECT_EQ(groups[0].multiplicity, 1) << "of a, which is the first to make them";
}

TEST(Graph, ADepthwiseConvolutionFollowsItsInputToTheLastChannel) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 4), &b = net.conv("b", 4, 8, 4), &c = net.conv("c", 8, 1);
  net.pass = [&](const Variable& x) { return c.forward(b.forward(a.forward(x))); };
  const Network network(net, {5, 5, 3});
  cut(net, cuts_of(channel_graph(net, network.graph).groups, {{0, 0, 1, 0}, {1}}));
  EXPECT_EQ(groups_of(net, {5, 5, 3}), (Texts{"1: a:0 b:0 | c:3", "1*: c:0 |"}))
      << "b's two outputs are one channel still";
}

TEST(Graph, TheGroupsOfAConvolutionLoseTheSameChannels) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 6), &b = net.conv("b", 6, 4, 2), &c = net.conv("c", 4, 1);
  net.pass = [&](const Variable& x) { return c.forward(b.forward(a.forward(x))); };
  const Network network(net, {5, 5, 3});
  const auto groups = channel_graph(net, network.graph).groups;
  ASSERT_EQ((Texts{text(groups.at(0)), text(groups.at(1))}), (Texts{"3: a:0 | b:3", "2: b:0 | c:3"}));
  EXPECT_EQ(groups[0].members[0].channel_of, (std::vector<int32_t>{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(groups[1].members[0].channel_of, (std::vector<int32_t>{0, 1, 0, 1}));
  EXPECT_EQ(groups[0].multiplicity, 2);
  EXPECT_EQ(groups[1].multiplicity, 2);
  EXPECT_EQ(groups.at(2).multiplicity, 1);
}

TEST(Graph, AGroupedConvolutionCutToOneInputAGroupIsNotDepthwise) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 6), &b = net.conv("b", 6, 6, 3), &c = net.conv("c", 6, 1);
  net.pass = [&](const Variable& x) { return c.forward(b.forward(a.forward(x))); };
  const Network network(net, {5, 5, 3});
  cut(net, cuts_of(channel_graph(net, network.graph).groups, {{1, 0}, {1, 1}, {1}}));
  const Network smaller(net, {5, 5, 3});
  const auto groups = channel_graph(net, smaller.graph).groups;
  ASSERT_EQ((Texts{text(groups.at(0)), text(groups.at(1))}), (Texts{"1: a:0 | b:3", "2: b:0 | c:3"}));
  EXPECT_EQ(groups[0].members[0].channel_of, (std::vector<int32_t>{0, 0, 0}));
  EXPECT_EQ(groups[1].members[0].channel_of, (std::vector<int32_t>{0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(groups[0].multiplicity, 3);
}

/// A depthwise weight read by an op that has other ideas.
class Confused : public Module {
 public:
  Confused() : weight_(add_parameter("weight", Role::weight, Tensor::zeros({4, 3, 3, 2}))) {}
  Variable forward(const Variable& x) override { return ops::conv2d(x, weight_.variable, {}, {.groups = 2}); }
  std::string type() const override { return "confused"; }
  std::vector<ChannelAxes> channel_axes() const override { return {{"weight", 0, -1}}; }

 private:
  Parameter& weight_;
};

class ConfusedNet : public Module {
 public:
  Variable forward(const Variable& x) override { return layer_.forward(x); }
  std::string type() const override { return "confused net"; }

 private:
  Confused& layer_ = add_child<Confused>("layer");
};

TEST(Graph, AWeightWithoutAnInputAxisReadsOneChannelAGroup) {
  ConfusedNet net;
  EXPECT_EQ(message_of([&] {
              groups_of(net, {5, 5, 4});
            }),
            "graph: layer (conv2d) reads 2 channels a group, its weight declares no input axis");
}

TEST(Graph, ASharedLayerTiesWhatItReadsToWhatItMakes) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 4), &b = net.conv("b", 4, 4), &c = net.conv("c", 4, 1);
  net.pass = [&](const Variable& x) { return c.forward(b.forward(b.forward(a.forward(x)))); };
  EXPECT_EQ(groups_of(net, {5, 5, 3}), (Texts{"4: a:0 b:0 | b:3 c:3", "1*: c:0 |"}));
}

TEST(Graph, WhatIsAddedToTheInputStays) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 3), &b = net.conv("b", 3, 1);
  net.pass = [&](const Variable& x) { return b.forward(ops::add(x, a.forward(x))); };
  const Network network(net, {5, 5, 3});
  const auto groups = channel_graph(net, network.graph).groups;
  EXPECT_EQ(groups.at(0).fixed, "the network's input");
  EXPECT_EQ(groups.at(1).fixed, "the network's output");
}

TEST(Graph, AnOpWithoutARuleIsRefusedByName) {
  SmallNet net;
  Conv2d& a = net.conv("a", 3, 4);
  net.pass = [&](const Variable& x) {
    return record({.op = "shuffle",
                   .attributes = {},
                   .inputs = {a.forward(x)},
                   .output = Tensor::zeros({1, 5, 5, 4}),
                   .channels = {},
                   .backward = {}});
  };
  EXPECT_EQ(message_of([&] {
              groups_of(net, {5, 5, 3});
            }),
            "graph: op 'shuffle' has no channel rule: what structural pruning may cut there is unknown");
}

TEST(Graph, WhatALayerNormBindsTogetherStaysAndWhatIsBesideItMayGo) {
  SmallNet net;
  Conv2d& a = net.conv("a", 3, 4);
  Linear &b = net.linear("b", 4, 6), &c = net.linear("c", 6, 4), &d = net.linear("d", 4, 2);
  const Variable ones(Tensor::full({4}, 1.0f));
  net.pass = [&](const Variable& x) {
    const Variable tokens = ops::reshape(a.forward(x), {25, -1});
    const Variable y = ops::add(tokens, c.forward(relu(b.forward(ops::layer_norm(tokens, ones, ones)))));
    return d.forward(ops::select(y, 1, 0));
  };
  EXPECT_EQ(groups_of(net, {5, 5, 3}), (Texts{"4*: a:0 c:0 | d:1", "6: b:0 | c:1", "2*: d:0 |"}));
  const auto groups = channel_graph(net, Network(net, {5, 5, 3}).graph).groups;
  EXPECT_EQ(groups[0].fixed, "bound together by layer_norm");
  EXPECT_EQ(groups[2].fixed, networks_output);
}

TEST(Graph, OfVgg19) {
  const auto model = make_model({.type = "vgg19", .input = {32, 32, 3}, .classes = 10}, 0);
  const Texts groups = groups_of(*model, {32, 32, 3});
  ASSERT_EQ(groups.size(), 17u);  // 16 convolutions and the classifier
  EXPECT_EQ(groups[0], "64: features.0:0 features.1:0 | features.3:3");
  EXPECT_EQ(groups[15], "512: features.49:0 features.50:0 | classifier:1");
  EXPECT_EQ(groups[16], "10*: classifier:0 |");
}

TEST(Graph, OfResNet20) {
  const auto model = make_model({.type = "resnet20", .input = {32, 32, 3}, .classes = 10}, 0);
  const Texts groups = groups_of(*model, {32, 32, 3});
  ASSERT_EQ(groups.size(),
            13u);  // one for each stage's sums, one inside each of the 9 blocks, the classifier
  EXPECT_EQ(groups[0],
            "16: conv1:0 bn1:0 layer1.0.conv2:0 layer1.0.bn2:0 layer1.1.conv2:0 layer1.1.bn2:0 "
            "layer1.2.conv2:0 layer1.2.bn2:0 | layer1.0.conv1:3 layer1.1.conv1:3 layer1.2.conv1:3 "
            "layer2.0.downsample.0:3 layer2.0.conv1:3");
  EXPECT_EQ(groups[1], "16: layer1.0.conv1:0 layer1.0.bn1:0 | layer1.0.conv2:3");
}

}  // namespace
}  // namespace espalier

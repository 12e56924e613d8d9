#include "espalier/prune/unit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

/// For each unit of a member the places of its numbers.
std::map<int64_t, std::vector<int64_t>> map_of(const UnitMember& member) {
  std::map<int64_t, std::vector<int64_t>> places;
  member.each_run([&](int64_t unit, int64_t offset, int64_t length) {
    for (int64_t i = 0; i < length; ++i) places[unit].push_back(offset + i);
  });
  return places;
}

TEST(Unit, WeightsAreNumberedThroughByLayerThenByIndex) {
  HandMade model;
  model.add("conv1.weight", {2, 1, 1, 3}, {1, 2, 3, 4, 5, 6});
  model.add("fc1.weight", {2, 2}, {7, 8, 9, 10});
  const UnitSet units(Unit::weight, model.parameters());
  EXPECT_EQ(units.count, 10);
  ASSERT_EQ(units.groups.size(), 2u);
  EXPECT_EQ(units.groups[0].layer, "conv1");
  EXPECT_EQ(units.groups[0].first, 0);
  EXPECT_EQ(units.groups[0].count, 6);
  EXPECT_EQ(units.groups[1].first, 6);
  EXPECT_EQ(units.groups[1].count, 4);
}

/// A convolution of 4 inputs and 3 outputs with a kernel of 2x2, and what each kind of unit makes of it: the
/// unit of weight [o, k, i], k the place in the kernel.
TEST(Unit, EachKindIsAMapFromItsNumberToTheNumbersItHolds) {
  struct Case {
    Unit unit;
    int64_t count;
    std::function<int64_t(int64_t o, int64_t k, int64_t i)> of;
    bool consecutive;
  };
  const Case cases[] = {
      {Unit::weight, 48, [](int64_t o, int64_t k, int64_t i) { return o * 16 + k * 4 + i; }, true},
      {Unit::n_of(2, 4), 48, [](int64_t o, int64_t k, int64_t i) { return o * 16 + k * 4 + i; }, true},
      {Unit::filter, 3, [](int64_t o, int64_t, int64_t) { return o; }, true},
      {Unit::column, 4, [](int64_t, int64_t, int64_t i) { return i; }, false},
      {Unit::kernel, 12, [](int64_t o, int64_t, int64_t i) { return o * 4 + i; }, false},
      {Unit::block_of(2, 3), 12, [](int64_t o, int64_t k, int64_t i) { return o / 2 * 6 + (k * 4 + i) / 3; },
       false},
      {Unit::layer, 1, [](int64_t, int64_t, int64_t) { return 0; }, true}};
  for (const Case& one : cases) {
    SCOPED_TRACE(one.unit.name());
    HandMade model;
    model.add("conv.weight", {3, 2, 2, 4}, std::vector<float>(48, 1.0f));
    const UnitSet units(one.unit, model.parameters());
    EXPECT_EQ(units.count, one.count);
    const UnitMember& member = units.groups.at(0).members.at(0);
    EXPECT_EQ(member.units(), one.count);
    EXPECT_EQ(member.is_consecutive(), one.consecutive);
    std::map<int64_t, std::vector<int64_t>> expected;
    for (int64_t at = 0; at < 48; ++at) expected[one.of(at / 16, at / 4 % 4, at % 4)].push_back(at);
    EXPECT_EQ(map_of(member), expected);
  }
}

TEST(Unit, AChannelHoldsNumbersOfAllThatMakesAndReadsIt) {
  SmallNet net;  // a flatten of two pixels: channel c is column c and c + 3 of fc
  Conv2d& conv = net.conv("conv", 1, 3);
  Linear& fc = net.linear("fc", 6, 2);
  net.pass = [&](const Variable& x) { return fc.forward(ops::flatten(conv.forward(x))); };
  const UnitSet units = units_of(net, {1, 2, 1}, Unit::channel, {}, {});
  ASSERT_EQ(units.groups.size(), 1u);
  EXPECT_EQ(units.count, 3);
  ASSERT_EQ(units.groups[0].members.size(), 3u);
  const auto of = [&](size_t m, int64_t unit) { return map_of(units.groups[0].members[m]).at(unit); };
  EXPECT_EQ(units.groups[0].members[0].parameter->name, "conv.weight");
  EXPECT_EQ(of(0, 1), (std::vector<int64_t>{9, 10, 11, 12, 13, 14, 15, 16, 17}));
  EXPECT_EQ(of(1, 2), (std::vector<int64_t>{2}));
  EXPECT_EQ(units.groups[0].members[2].parameter->name, "fc.weight");
  EXPECT_EQ(of(2, 1), (std::vector<int64_t>{1, 4, 7, 10}));
  const auto verdicts = units.verdicts(Tensor::from<uint8_t>({3}, std::vector<uint8_t>{1, 0, 1}));
  EXPECT_EQ(std::ranges::count(verdicts, std::vector<uint8_t>{1, 0, 1}), 1);
  EXPECT_EQ(verdicts.size(), units.channels->graph.groups.size());
}

TEST(Unit, MThatDoesNotDivideALayersInputsIsNamed) {
  HandMade model;
  model.add("fc.weight", {2, 6}, std::vector<float>(12, 1.0f));
  EXPECT_EQ(
      message_of<Error>([&] { UnitSet(Unit::n_of(2, 4), model.parameters()); }),
      "prune: fc.weight has 6 inputs, which is no multiple of 4 (2:4): exclude the layer, take another m, or "
      "\"pad\": true");
}

TEST(Unit, NamesReadBack) {
  for (const char* name :
       {"weight", "filter", "column", "kernel", "block", "layer", "channel", "2:4", "1:16"})
    EXPECT_EQ(unit_named(name).name(), name);
  EXPECT_EQ(unit_named("row"), Unit(Unit::filter));
  EXPECT_EQ(unit_named("3:8"), Unit::n_of(3, 8));
  EXPECT_EQ(Unit::block_of(4, 16).plural(), "4x16 blocks");
  EXPECT_EQ(Unit::n_of(2, 4).plural(), "weights");
  EXPECT_EQ(
      message_of<UsageError>([] { unit_named("rows"); }),
      "unit: found 'rows', expected one of weight, filter, column, kernel, block, n:m, layer, channel, row, "
      "did you mean 'row'?");
  for (const char* wrong : {"4:4", "0:4", "4:2"})
    EXPECT_TRUE(message_of<UsageError>([&] {
                  unit_named(wrong);
                }).ends_with("expected n:m with 0 < n < m, such as 2:4"));
  EXPECT_EQ(message_of<UsageError>([] { unit_named("n:m"); }),
            "unit: found 'n:m', expected two numbers, such as 2:4");
}

class Layers : public testing::Test {
 protected:
  Layers() {
    for (const char* layer : {"conv1", "layer1.0.conv1", "layer1.0.conv2", "layer10.0.conv1", "fc"}) {
      model.add(join(layer, ".weight"), {1, 1}, {1});
      model.add(join(layer, ".bias"), {1}, {1}, Role::bias);
    }
    model.add("bn1.weight", {1}, {1}, Role::scale);
    model.add("bn1.running_mean", {1}, {0}, Role::buffer);
  }

  std::vector<std::string> chosen(const std::vector<std::string>& include,
                                  const std::vector<std::string>& exclude) {
    std::vector<std::string> names;
    for (const Parameter* weight : prunable_weights(model, include, exclude)) names.push_back(weight->name);
    return names;
  }

  HandMade model;
};
using Names = std::vector<std::string>;

TEST_F(Layers, AllWeightsOfConvolutionsAndLinearLayersArePrunable) {
  EXPECT_EQ(chosen({}, {}), (Names{"conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv2.weight",
                                   "layer10.0.conv1.weight", "fc.weight"}));
}

TEST_F(Layers, AnEntryIsALayersNameOrThatOfWhatItLiesUnder) {
  const Names one{"layer1.0.conv1.weight", "layer1.0.conv2.weight"};
  const Names ten{"layer1.0.conv1.weight", "layer1.0.conv2.weight", "layer10.0.conv1.weight"};
  EXPECT_EQ(chosen({"layer1"}, {}), one) << "and not layer10";
  EXPECT_EQ(chosen({"layer1*"}, {}), ten);
  EXPECT_EQ(chosen({"layer1.0.conv?"}, {}), one);
  EXPECT_EQ(chosen({"*.conv1"}, {}), (Names{"layer1.0.conv1.weight", "layer10.0.conv1.weight"}));
  EXPECT_EQ(chosen({"layer1.0.conv2", "fc"}, {}), (Names{"layer1.0.conv2.weight", "fc.weight"}));
  EXPECT_EQ(chosen({}, {"layer1", "conv1"}), (Names{"layer10.0.conv1.weight", "fc.weight"}));
}

TEST_F(Layers, ExcludeWins) {
  EXPECT_EQ(chosen({"layer1", "fc"}, {"layer1.0.conv1"}), (Names{"layer1.0.conv2.weight", "fc.weight"}));
  EXPECT_EQ(message_of<Error>([&] { chosen({"fc"}, {"fc"}); }),
            "prune: nothing to prune, include and exclude leave no layer");
}

TEST_F(Layers, AnEntryThatNamesNoneIsAnError) {
  EXPECT_EQ(message_of<Error>([&] {
              chosen({}, {"fc", "layr1"});
            }),
            "prune: exclude 'layr1' names no convolution or linear layer, known: conv1, fc, layer1, layer10, "
            "did you mean 'layer1'?");
  EXPECT_THROW(chosen({"bn1"}, {}), Error);
  EXPECT_THROW(chosen({"fc.weight"}, {}), Error) << "a parameter's name, not its layer's";
}

TEST(NoLayers, HaveNothingToPrune) {
  HandMade model;
  EXPECT_EQ(message_of<Error>([&] { prunable_weights(model); }),
            "prune: nothing to prune, the model has no convolution or linear layer");
}

}  // namespace
}  // namespace espalier

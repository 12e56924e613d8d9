#include "espalier/prune/collapse.h"

#include <gtest/gtest.h>

#include "prune/zoo.h"

namespace espalier {
namespace {

/// `rows` of `size`, of which the first `left` of the first `rows_left` are not zero.
std::vector<float> left(size_t rows, size_t size, size_t rows_left, size_t in_each) {
  std::vector<float> values(rows * size, 0.0f);
  for (size_t r = 0; r < rows_left; ++r)
    for (size_t i = 0; i < in_each; ++i) values[r * size + i] = -1.0f;
  return values;
}

TEST(LayerCollapse, IsOfNextToNoWeightsOrRows) {
  HandMade model;
  model.add("whole.weight", {20, 100}, left(20, 100, 20, 100));
  model.add("sparse.weight", {20, 10'000},
            left(20, 10'000, 2, 100));  // one in a thousand, in one of ten rows
  model.add("thin.weight", {20, 400}, left(20, 400, 7, 1));
  model.add("narrow.weight", {20, 100}, left(20, 100, 1, 100));
  model.add("empty.weight", {2, 3}, left(2, 3, 0, 0));
  model.add("empty.bias", {2}, left(2, 1, 0, 0), Role::bias);
  EXPECT_EQ(collapsed_layers(model),
            (std::vector<std::string>{
                "layer collapse: thin is left with 7 of 8,000 weights, in 7 of 20 filters",
                "layer collapse: narrow is left with 100 of 2,000 weights, in 1 of 20 filters",
                "layer collapse: empty is left with 0 of 6 weights, in 0 of 2 filters",
            }));
}

TEST(LayerCollapse, IsOfFewerWeightsThanOutputs) {
  HandMade model;
  model.add("one_each.weight", {10, 10}, left(10, 10, 10, 1));
  model.add("fewer.weight", {10, 10}, left(10, 10, 9, 1));
  EXPECT_EQ(collapsed_layers(model),
            (std::vector<std::string>{
                "layer collapse: fewer is left with 9 of 100 weights, in 9 of 10 filters",
            }));
}

/// Layers of 10 outputs and 100, 20 and 5 weights to each.
struct ThreeLayers {
  HandMade model;
  ThreeLayers() {
    model.add("a.weight", {10, 100}, left(10, 100, 10, 100));
    model.add("b.weight", {10, 20}, left(10, 20, 10, 20));
    model.add("c.weight", {10, 5}, left(10, 5, 10, 5));
  }
  std::vector<std::string> foreseen(const PruneOptions& options) {
    return foreseen_collapse(model, any_input, options);
  }
};

TEST(ForeseenCollapse, IsCountedWhereEachLayerIsRankedByItself) {
  ThreeLayers three;
  PruneOptions options{.selection = {.scope = scopes().named("layer")}, .target = {Target::sparsity, 0.95}};
  EXPECT_EQ(
      three.foreseen(options),
      (std::vector<std::string>{"layer collapse: c will be left with 2 of 50 weights, and has 10 outputs"}))
      << "b keeps 10, one for each output; of c's 50 llround(47.5) = 48 go";
  options.target.value = 0.96;
  EXPECT_EQ(three.foreseen(options).size(), 2u) << "b keeps 8";
  options.exclude = {"b", "c"};
  EXPECT_EQ(three.foreseen(options), std::vector<std::string>{});
  options.exclude = {};
  options.selection.limits.max_ratio = 0.5;
  options.target.value = 0.5;
  EXPECT_EQ(three.foreseen(options), std::vector<std::string>{});
  options.selection.limits = {};
  options.selection.scope = scopes().named("global");
  options.target.value = 0.99;
  EXPECT_EQ(three.foreseen(options), std::vector<std::string>{}) << "whose weights go is in the scores";
  options.include = {"c"};
  EXPECT_EQ(three.foreseen(options).size(), 1u) << "ranked by itself, as no other is pruned";
  options.target = {Target::threshold, 100};
  EXPECT_EQ(three.foreseen(options), std::vector<std::string>{});
}

TEST(ForeseenCollapse, OfLayersThatAreRankedTogetherNothingIsKnown) {
  ThreeLayers three;
  three.model.add("conv.weight", {10, 3, 3, 5}, left(10, 45, 10, 45));
  EXPECT_EQ(three.foreseen(
                {.selection = {.scope = scopes().named("isomorphic")}, .target = {Target::sparsity, 0.99}}),
            (std::vector<std::string>{
                "layer collapse: conv will be left with 4 of 450 weights, and has 10 outputs"}))
      << "no other layer is like it";
}

TEST(ForeseenCollapse, OfFiltersIsOnlyWhatIsEmptied) {
  ThreeLayers three;
  PruneOptions options{.unit = Unit::filter,
                       .selection = {.scope = scopes().named("layer")},
                       .target = {Target::sparsity, 0.9}};
  EXPECT_EQ(three.foreseen(options), std::vector<std::string>{}) << "c keeps one filter of 5 weights";
  options.target.value = 1;
  EXPECT_EQ(three.foreseen(options).size(), 3u);
  EXPECT_EQ(three.foreseen(options).back(),
            "layer collapse: c will be left with 0 of 50 weights, and has 10 outputs");
}

TEST(DeadUnits, AreFiltersAndColumnsThatAreMaskedThroughout) {
  HandMade model;
  Parameter& fc = model.add("fc.weight", {3, 4}, std::vector<float>(12, 1.0f));
  Parameter& conv = model.add("conv.weight", {2, 1, 2, 3}, std::vector<float>(12, 0.0f));
  model.add("dense.weight", {2, 2}, {0, 0, 0, 0});
  EXPECT_TRUE(dead_units(model).empty()) << "zeros that no mask holds may train";
  EXPECT_EQ(dead_line(dead_units(model)), "");
  const auto mask = [](Parameter& parameter, const std::vector<uint8_t>& kept) {
    Tensor tensor = Tensor::empty(parameter.shape(), DType::u8);
    std::ranges::copy(kept, tensor.data<uint8_t>());
    parameter.set_mask(tensor);
  };
  mask(fc, {1, 0, 0, 1,  //
            0, 0, 0, 0,  // the second filter; the second and third column
            0, 0, 0, 1});
  EXPECT_EQ(dead_line(dead_units(model)),
            "dead: 1 of 3 filters and 2 of 4 columns of fc have no weight that is not masked");
  mask(conv, {1, 1, 0, 0, 1, 0,  // input 2 at neither place, in neither filter
              1, 0, 0, 1, 0, 0});
  const std::vector<DeadUnits> dead = dead_units(model);
  ASSERT_EQ(dead.size(), 2u);
  EXPECT_EQ(dead[1].layer, "conv");
  EXPECT_EQ(std::pair(dead[1].filters, dead[1].columns), std::pair(int64_t{0}, int64_t{1}));
  EXPECT_EQ(
      dead_line(dead),
      "dead: 1 of 5 filters and 3 of 7 columns of 2 layers have no weight that is not masked, most in fc "
      "(1 of 3 filters and 2 of 4 columns)");
}

}  // namespace
}  // namespace espalier

#include "espalier/prune/collapse.h"

#include <gtest/gtest.h>

#include "prune/hand_made.h"

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
  model.add("sparse.weight", {20, 100}, left(20, 100, 2, 1));  // one in a thousand, in one of ten rows
  model.add("thin.weight", {20, 400}, left(20, 400, 7, 1));
  model.add("narrow.weight", {20, 100}, left(20, 100, 1, 100));
  model.add("empty.weight", {2, 3}, left(2, 3, 0, 0));
  model.add("empty.bias", {2}, left(2, 1, 0, 0), Role::bias);
  EXPECT_EQ(collapsed_layers(model),
            (std::vector<std::string>{
                "layer collapse: thin is left with 7 of 8,000 weights, in 7 of 20 rows",
                "layer collapse: narrow is left with 100 of 2,000 weights, in 1 of 20 rows",
                "layer collapse: empty is left with 0 of 6 weights, in 0 of 2 rows",
            }));
}

}  // namespace
}  // namespace espalier

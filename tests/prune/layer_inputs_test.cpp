#include "espalier/prune/layer_inputs.h"

#include <gtest/gtest.h>

#include "espalier/prune/unit.h"
#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

/// A linear layer [2,6] over flattened images [1,1,6], or [1,3,2], of two channels of three pixels.
struct OfImages {
  SmallNet net;
  Shape image;
  Linear& fc;
  explicit OfImages(int64_t positions)
      : image(positions == 1 ? Shape{1, 1, 6} : Shape{1, 3, 2}), fc(net.linear("fc", 6, 2, positions)) {
    net.pass = [this](const Variable& x) { return fc.forward(ops::flatten(x)); };
  }
  /// Image i of 4, whose numbers in the order of files are those of `rows`.
  Signals gather(const Floats& rows) {
    const std::vector<int64_t> line = line_of(*net.find("fc.weight"));
    Floats images(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) images[i - i % 6 + static_cast<size_t>(line[i % 6])] = rows[i];
    return input_products(
        net, image, criteria().named("sparsegpt"),
        {.batches = 2,
         .batch =
             [&](int64_t b) {
               const auto first = images.begin() + b * 12;
               return SignalBatch{Tensor::from({2, image[0], image[1], image[2]}, Floats(first, first + 12)),
                                  {}};
             },
         .loss = {}});
  }
};

TEST(LayerInputs, ProductsAreInTheOrderOfFiles) {
  Floats rows = random_floats(24, 3);
  for (size_t i = 4; i < rows.size(); i += 6) rows[i] = 0;  // a silent one: the second pixel of channel 1
  OfImages flat(1), by_pixel(3);
  const Parameter *expected_of = flat.net.find("fc.weight"), *found_of = by_pixel.net.find("fc.weight");
  ASSERT_EQ(line_of(*found_of), (std::vector<int64_t>{0, 2, 4, 1, 3, 5}));
  const Signals expected = flat.gather(rows), found = by_pixel.gather(rows);
  EXPECT_EQ(found.matrices.at(found_of).values, expected.matrices.at(expected_of).values);
  EXPECT_EQ(found.matrices.at(found_of).silent, (std::vector<char>{0, 0, 0, 0, 1, 0}));
  const Floats costs = numbers(expected.of_parameters.at(expected_of)),
               in_memory = numbers(found.of_parameters.at(found_of));
  EXPECT_EQ(in_memory, (Floats{costs[0], costs[3], costs[1], 0, costs[2], costs[5],  //
                               costs[0], costs[3], costs[1], 0, costs[2], costs[5]}));
  EXPECT_NE(costs[1], costs[3]);
}

}  // namespace
}  // namespace espalier

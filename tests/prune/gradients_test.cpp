#include "espalier/prune/gradients.h"

#include <gtest/gtest.h>

#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

/// Losses that are a multiple of the sum of y = w x: their gradients can be written down.
struct Line {
  SmallNet net;
  Linear& fc = net.linear("fc", 2, 1);
  Line() {
    net.pass = [this](const Variable& x) {
      EXPECT_FALSE(net.training());
      return fc.forward(x);
    };
  }
  Variable loss(const Floats& x) { return ops::sum(net.forward(Variable(Tensor::from({1, 2}, x)))); }
};

TEST(GradientSquares, AreMeansOverBatchesOfSquares) {
  Line line;
  const std::vector<Floats> batches = {{1, 2}, {3, -4}};  // whose mean, 2 and -1, says little of the second
  const auto loss = [&](int64_t i) { return line.loss(batches[static_cast<size_t>(i)]); };
  const Parameter* w = line.net.find("fc.weight");
  line.net.set_training(true);
  GradientSquares gradients = gather_gradients(line.net, Needs::gradients, 2, loss);
  EXPECT_EQ(numbers(gradients.of_parameters.at(w)), (Floats{5, 10}));
  gradients = gather_gradients(line.net, Needs::curvature, 2, loss);
  EXPECT_EQ(numbers(gradients.of_parameters.at(w)), (Floats{5, 10})) << "each counts, not only the last";
  EXPECT_TRUE(line.net.training());
  EXPECT_FALSE(w->gradient().defined());
  EXPECT_TRUE(gather_gradients(line.net, Needs::weights, 2, loss).of_parameters.empty());
}

TEST(GradientSquares, AreOfFrozenLayersToo) {
  Line line;
  const Frozen frozen(line.net, {&line.fc});
  const Parameter* w = line.net.find("fc.weight");
  const GradientSquares gradients = gather_gradients(line.net, Needs::gradients, 1, [&](int64_t) {
    return line.loss({1, 2});
  });
  EXPECT_EQ(numbers(gradients.of_parameters.at(w)), (Floats{1, 4}));
  EXPECT_TRUE(w->frozen() && !w->gradient().defined());
}

}  // namespace
}  // namespace espalier

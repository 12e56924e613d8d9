// Two channels, of which a test says by hand what a penalty adds to their gradients.
#pragma once

#include <gtest/gtest.h>

#include "espalier/penalty/penalty.h"
#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {

/// That fc1 [2,1] makes and fc2 [1,2] reads: the first of norm 5 over both, the second of 1.
struct TwoChannels {
  SmallNet net;
  Linear &fc1 = net.linear("fc1", 1, 2), &fc2 = net.linear("fc2", 2, 1);
  Parameter &w1 = *net.find("fc1.weight"), &w2 = *net.find("fc2.weight"), &bias = *net.find("fc1.bias");

  TwoChannels() {
    net.pass = [this](const Variable& x) { return fc2.forward(relu(fc1.forward(ops::flatten(x)))); };
    w1.value() = Tensor::from({2, 1}, Floats{3, -1});
    w2.value() = Tensor::from({1, 2}, Floats{-4, 0});
    bias.value() = Tensor::from({2}, Floats{7, 7});
  }

  std::unique_ptr<Penalty> penalty(const PenaltyOptions& options) {
    return make_penalty(net, {1, 1, 1}, options);
  }
  /// What the penalty adds to gradients of 0: fc1's two numbers, then fc2's.
  Floats added(Penalty& penalty, int64_t step = 0) {
    for (Parameter* parameter : net.parameters()) parameter->gradient() = Tensor::zeros(parameter->shape());
    penalty.add_gradients(step);
    EXPECT_EQ(numbers(bias.gradient()), (Floats{0, 0}));
    Floats all = numbers(w1.gradient());
    for (const float one : numbers(w2.gradient())) all.push_back(one);
    return all;
  }
  Floats added(const PenaltyOptions& options) { return added(*penalty(options)); }
};

/// Gradients of 0 for all that is learned.
inline void clear_gradients(Module& model) {
  for (Parameter* parameter : model.parameters())
    if (parameter->learned()) parameter->gradient() = Tensor::zeros(parameter->shape());
}

inline void expect_near(const Floats& found, const Floats& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-6) << i;
}

}  // namespace espalier

// One case of an op serves everything: its value against a naive loop in double precision, its gradients
// against central finite differences of that loop, their accumulation, and what happens where none is wanted.
#pragma once

#include <functional>
#include <vector>

#include "espalier/autograd/variable.h"
#include "support/numbers.h"

namespace espalier {

struct OpCase {
  std::vector<Shape> inputs;
  std::function<Variable(const std::vector<Variable>&)> op;
  /// The same function by the plainest loops there are.
  std::function<Doubles(const std::vector<Doubles>&)> reference;
  double tolerance = 1e-5;  ///< of the largest number
  double low = -1.0, high = 1.0;
};

namespace detail {

/// d(sum of seed y) / d(input number i of `inputs`), for at most 50 numbers of it, as (place, derivative).
/// The step is so small that no kink lies inside.
inline std::vector<std::pair<size_t, double>> finite_differences(const OpCase& c, std::vector<Doubles> inputs,
                                                                 size_t i, const Doubles& seed) {
  const double step = 1e-6;
  const auto weighted_sum = [&] {
    const Doubles y = c.reference(inputs);
    double sum = 0;
    for (size_t k = 0; k < y.size(); ++k) sum += seed[k] * y[k];
    return sum;
  };
  std::vector<std::pair<size_t, double>> result;
  const auto order = random_permutation(i, static_cast<int64_t>(inputs[i].size()));
  for (size_t k = 0; k < std::min<size_t>(50, order.size()); ++k) {
    double& x = inputs[i][static_cast<size_t>(order[k])];
    const double at = x;
    x = at + step;
    const double above = weighted_sum();
    x = at - step;
    const double below = weighted_sum();
    x = at;
    result.emplace_back(order[k], (above - below) / (2 * step));
  }
  return result;
}

}  // namespace detail

inline void check(const OpCase& c) {
  std::vector<Tensor> values;
  std::vector<Doubles> numbers;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    values.push_back(random_tensor(c.inputs[i], 10 + i, c.low, c.high));
    numbers.push_back(doubles(values[i].span<float>()));
  }
  const auto variables = [&](auto wanted) {
    std::vector<Variable> made;
    for (size_t i = 0; i < values.size(); ++i) made.emplace_back(values[i].clone(), wanted(i));
    return made;
  };

  const auto all = variables([](size_t) { return true; });
  Variable y = c.op(all);
  ASSERT_TRUE(y.requires_gradient());
  EXPECT_TRUE(near(y.value(), c.reference(numbers), c.tolerance)) << "value";
  const Tensor seed = random_tensor(y.shape(), 9);
  y.backward(seed);
  std::vector<Tensor> gradients;
  for (size_t i = 0; i < all.size(); ++i) {
    gradients.push_back(all[i].gradient().clone());
    ASSERT_EQ(gradients[i].shape(), c.inputs[i]) << "gradient of input " << i;
    double largest = 1.0;
    for (const float g : gradients[i].span<float>()) largest = std::max<double>(largest, std::abs(g));
    for (const auto& [place, expected] :
         detail::finite_differences(c, numbers, i, doubles(seed.span<float>())))
      EXPECT_NEAR(gradients[i].f32()[place], expected, (c.tolerance + 1e-7) * largest)
          << "gradient of input " << i << " at " << place;
  }

  // A second pass is added to the first, by the kernels' own way of adding.
  c.op(all).backward(seed);
  for (size_t i = 0; i < all.size(); ++i) {
    Doubles twice = doubles(gradients[i].span<float>());
    for (double& g : twice) g *= 2;
    EXPECT_TRUE(near(all[i].gradient(), twice, 1e-6)) << "gradient of input " << i << ", added";
  }

  // Each input by itself: the others get nothing, and it gets the same.
  for (size_t only = 0; only < all.size(); ++only) {
    const auto some = variables([=](size_t i) { return i == only; });
    c.op(some).backward(seed);
    for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(some[i].gradient().defined(), i == only);
    EXPECT_TRUE(near(some[only].gradient(), doubles(gradients[only].span<float>()), 1e-6))
        << "only input " << only;
  }

  // Inputs are left alone, and inference computes the same.
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_TRUE(same_bits(all[i].value(), values[i])) << "input " << i << " was overwritten";
  const NoGradient off;
  const Variable inferred = c.op(all);
  EXPECT_FALSE(inferred.requires_gradient());
  EXPECT_TRUE(same_bits(inferred.value(), y.value())) << "without gradients";
}

}  // namespace espalier

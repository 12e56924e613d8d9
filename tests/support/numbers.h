// Random inputs and comparisons for tests of kernels and ops.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "espalier/core/random.h"
#include "espalier/core/tensor.h"

namespace espalier {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

/// `n` numbers, uniform on [low, high).
inline Floats random_floats(int64_t n, uint64_t key, double low = -1.0, double high = 1.0) {
  Floats values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(low + (high - low) * random_uniform(random_key(20, key), i));
  return values;
}

inline Tensor random_tensor(const Shape& shape, uint64_t key, double low = -1.0, double high = 1.0) {
  return Tensor::from(shape, random_floats(shape.elements(), key, low, high));
}

/// A mask that keeps about `share` of its places.
inline std::vector<uint8_t> random_mask(int64_t n, uint64_t key, double share = 0.5) {
  std::vector<uint8_t> mask(static_cast<size_t>(n));
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = random_uniform(random_key(21, key), i) < share;
  return mask;
}

inline Doubles doubles(std::span<const float> values) { return Doubles(values.begin(), values.end()); }

/// Every number within `tolerance` of the one expected, measured against the largest expected (at least 1).
inline testing::AssertionResult near(std::span<const float> actual, std::span<const double> expected,
                                     double tolerance) {
  if (actual.size() != expected.size())
    return testing::AssertionFailure() << actual.size() << " numbers, expected " << expected.size();
  double largest = 1.0;
  for (const double each : expected) largest = std::max(largest, std::abs(each));
  for (size_t i = 0; i < actual.size(); ++i)
    if (!(std::abs(actual[i] - expected[i]) <= tolerance * largest))
      return testing::AssertionFailure() << "number " << i << " of " << actual.size() << " is " << actual[i]
                                         << ", expected " << expected[i] << " (largest " << largest << ")";
  return testing::AssertionSuccess();
}
inline testing::AssertionResult near(const Tensor& actual, std::span<const double> expected,
                                     double tolerance) {
  return near(actual.span<float>(), expected, tolerance);
}

/// Runs `kernel(output, accumulate)` on an output that holds other numbers already: they are overwritten with
/// what is expected, or it is added to them.
template <class Kernel>
void check_output(const Doubles& expected, double tolerance, const Kernel& kernel) {
  for (const bool accumulate : {false, true}) {
    const Floats before = random_floats(static_cast<int64_t>(expected.size()), 31, 1.0, 2.0);
    Floats output = before;
    kernel(output.data(), accumulate);
    Doubles wanted = expected;
    if (accumulate)
      for (size_t i = 0; i < wanted.size(); ++i) wanted[i] += before[i];
    EXPECT_TRUE(near(output, wanted, tolerance)) << "accumulate " << accumulate;
  }
}

template <class T>
bool same_bits(std::span<const T> a, std::span<const T> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}
inline bool same_bits(const Floats& a, const Floats& b) {
  return same_bits(std::span<const float>(a), std::span<const float>(b));
}
inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && same_bits(a.span<float>(), b.span<float>());
}

}  // namespace espalier

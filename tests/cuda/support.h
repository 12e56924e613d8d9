// Device memory for tests of espalier::cuda: each kernel runs on what was uploaded and is compared with
// espalier::cpu's on the same numbers.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "espalier/core/cuda_device.h"
#include "espalier/core/kernels.h"
#include "support/numbers.h"

namespace espalier {

/// n numbers in device memory, `offset` places after an address that is a multiple of 256 bytes.
template <class T>
class OnDevice {
 public:
  /// Filled with bytes 0xA5: what a kernel should have written and did not is told from zeros.
  explicit OnDevice(int64_t n, int64_t offset = 0) : OnDevice(std::vector<T>(), n, offset) {}
  explicit OnDevice(const std::vector<T>& values, int64_t offset = 0)
      : OnDevice(values, static_cast<int64_t>(values.size()), offset) {}
  OnDevice(OnDevice&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)), offset_(other.offset_), n_(other.n_) {}
  OnDevice& operator=(OnDevice&&) = delete;
  ~OnDevice() {
    if (block_) cuda::release(block_);
  }

  T* data() const { return static_cast<T*>(block_) + offset_; }
  operator T*() const { return data(); }  // NOLINT: implicit, for arguments
  int64_t size() const { return n_; }

  /// Waits for all that was asked for before.
  std::vector<T> host() const { return read().first; }
  /// Whether nothing was written before the numbers and after them.
  bool intact() const { return read().second; }
  /// Both, from one copy.
  std::pair<std::vector<T>, bool> read() const {
    std::vector<uint8_t> all(bytes());
    cuda::download(all.data(), block_, all.size());
    std::vector<T> values(static_cast<size_t>(n_));
    const auto begin = all.begin() + offset_ * static_cast<int64_t>(sizeof(T));
    const auto end = begin + n_ * static_cast<int64_t>(sizeof(T));
    if (n_ > 0) std::memcpy(values.data(), &*begin, values.size() * sizeof(T));
    const auto is_unset = [](uint8_t byte) { return byte == unset; };
    return {values, std::all_of(all.begin(), begin, is_unset) && std::all_of(end, all.end(), is_unset)};
  }

 private:
  static constexpr uint8_t unset = 0xA5;
  static constexpr int64_t margin = 64;  // numbers after the last

  OnDevice(const std::vector<T>& values, int64_t n, int64_t offset) : offset_(offset), n_(n) {
    block_ = cuda::allocate(bytes());
    std::vector<uint8_t> all(bytes(), unset);
    if (!values.empty())
      std::memcpy(all.data() + static_cast<size_t>(offset) * sizeof(T), values.data(),
                  values.size() * sizeof(T));
    cuda::upload(block_, all.data(), all.size());
  }
  size_t bytes() const { return static_cast<size_t>(offset_ + n_ + margin) * sizeof(T); }

  void* block_ = nullptr;
  int64_t offset_, n_;
};

/// Scratch of that many bytes; not initialised, as a kernel has to expect.
inline OnDevice<uint8_t> device_scratch(size_t bytes) {
  return OnDevice<uint8_t>(static_cast<int64_t>(bytes));
}

inline testing::AssertionResult near(std::span<const float> actual, std::span<const float> expected,
                                     double tolerance) {
  return near(actual, std::span<const double>(doubles(expected)), tolerance);
}
inline testing::AssertionResult near(const OnDevice<float>& actual, std::span<const double> expected,
                                     double tolerance) {
  const auto [values, intact] = actual.read();
  if (!intact) return testing::AssertionFailure() << "wrote outside its output";
  return near(std::span<const float>(values), expected, tolerance);
}
inline testing::AssertionResult near(const OnDevice<float>& actual, const Floats& expected,
                                     double tolerance = 1e-5) {
  return near(actual, std::span<const double>(doubles(expected)), tolerance);
}

/// Every number and the bytes around them.
template <class T>
testing::AssertionResult same(const OnDevice<T>& actual, const std::vector<T>& expected) {
  const auto [values, intact] = actual.read();
  if (!intact) return testing::AssertionFailure() << "wrote outside its output";
  if (values.size() != expected.size())
    return testing::AssertionFailure() << values.size() << " numbers, expected " << expected.size();
  for (size_t i = 0; i < values.size(); ++i)
    if (std::memcmp(&values[i], &expected[i], sizeof(T)) != 0)
      return testing::AssertionFailure() << "number " << i << " of " << values.size() << " is " << +values[i]
                                         << ", expected " << +expected[i];
  return testing::AssertionSuccess();
}

/// Runs `kernel(output, accumulate)` on device outputs that hold other numbers already: they are overwritten
/// with `expected`, or it is added to them. At two alignments.
template <class Kernel>
void check_on_device(const Doubles& expected, double tolerance, const Kernel& kernel) {
  for (const int64_t offset : {0, 1})
    for (const bool accumulate : {false, true}) {
      const Floats before = random_floats(static_cast<int64_t>(expected.size()), 31, 1.0, 2.0);
      const OnDevice<float> output(before, offset);
      kernel(output.data(), accumulate);
      Doubles wanted = expected;
      if (accumulate)
        for (size_t i = 0; i < wanted.size(); ++i) wanted[i] += before[i];
      EXPECT_TRUE(near(output, wanted, tolerance)) << "accumulate " << accumulate << ", offset " << offset;
    }
}
template <class Kernel>
void check_on_device(const Floats& expected, double tolerance, const Kernel& kernel) {
  check_on_device(doubles(expected), tolerance, kernel);
}

}  // namespace espalier

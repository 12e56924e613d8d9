// Measuring kernels: numbers to run them on, the best time of some calls, and what this machine can do at
// best.
#pragma once

#include <functional>
#include <vector>

#include "espalier/core/tensor.h"

namespace espalier {

/// Uniform on [-0.5, 0.5), a function of `key`.
Tensor random_operand(const Shape& shape, uint64_t key);

/// The tenth percentile: how long something takes here while nothing disturbs it. (The mean and the median
/// are of a disturbed moment, too, where other processes run; the least may be a lucky one.)
double undisturbed(std::vector<double> times);

/// Milliseconds of two things that are compared, as a machine took for them that was the same for both.
struct PairedTimes {
  double first = 0, second = 0;
  double speedup() const { return first / second; }
};
/// Either call does its thing once and says the milliseconds. They take turns in short rounds, a batch of the
/// first, a batch of the second, each by its undisturbed time, for about `limit_ms` in all: a machine that is
/// slower in one minute than in the next is so for both. Of the quickest third of the rounds, an odd
/// number, it is the one whose ratio is the median, so that times and ratio agree.
PairedTimes paired(const std::function<double()>& first, const std::function<double()>& second,
                   double limit_ms);

/// The best milliseconds of each of `calls`, called in turns as often as fits in `limit_ms` for each, at
/// least 3 times: what other programs take is not theirs.
std::vector<double> race(const std::vector<std::function<void()>>& calls, double limit_ms);
double best_ms(const std::function<void()>& call, double limit_ms);

/// Billions of floating-point operations a second in a large matrix product, two to a multiply-accumulate.
double peak_gflops(double limit_ms);
/// Billions of bytes a second, read and written, in a copy that no cache holds, past the caches on its way
/// out.
double peak_gigabytes(double limit_ms);

}  // namespace espalier

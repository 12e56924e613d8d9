// Whether statistics that were taken about a guess are good.
#pragma once

#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// True if some channel's mean is more than 4 deviations away from the center that its sums were taken about:
/// its variance, the difference of two large numbers, may have lost up to 1e-4 of itself (squares of equal
/// numbers, as relu leaves them, all round the same way), and is worth a second pass about the mean that was
/// found. Never for differences below the mean's own rounding, nor below 1e-3 (a variance of 1e-6 is nothing
/// beside what a norm adds to it). A null center of `s` stands for zeros.
inline bool far_from_center(const ChannelStatistics& s, int64_t c) {
  for (int64_t k = 0; k < c; ++k) {
    const double mean = static_cast<double>(s.mean[k]), variance = static_cast<double>(s.variance[k]);
    const double away = mean - (s.center ? static_cast<double>(s.center[k]) : 0.0);
    if (away * away > 16 * variance + 1e-7 * mean * mean + 1e-6) return true;
  }
  return false;
}

}  // namespace espalier::cpu

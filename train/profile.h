// Profile: what each layer's kernels take by themselves, against what this machine can do at best.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "espalier/nn/module.h"

namespace espalier {

struct KernelTime {
  std::string layer;
  std::string kernel;       ///< as core/kernels.h calls it: "linear_backward_data"
  std::string algorithm;    ///< of a convolution: "winograd", "pointwise", "direct"
  double milliseconds = 0;  ///< of a batch, the best of some
  int64_t macs = 0;         ///< of a batch, by the direct algorithm

  /// Billions of floating-point operations a second, two to a multiply-accumulate.
  double gflops() const { return 2e-6 * static_cast<double>(macs) / milliseconds; }
};

struct Profile {
  std::vector<KernelTime> kernels;
  double peak_gflops = 0;  ///< measured: a large matrix product
};

/// Times the products and convolutions of `model` one by one on random numbers, for a batch of images
/// `input` [H,W,C]: forward, and if `training` backward, as a step needs them (no gradient of the images).
Profile profile(Module& model, const Shape& input, int64_t batch, bool training);

/// A row a kernel, then how much of `batch_ms`, the time of a whole batch, they make up.
std::string profile_table(const Profile& profile, double batch_ms);

}  // namespace espalier

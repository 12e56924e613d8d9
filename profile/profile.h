// Profile: what each layer's kernels take by themselves, against what this machine can do at best.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "espalier/nn/module.h"
#include "espalier/util/terminal.h"

namespace espalier {

struct KernelTime {
  std::string layer;        ///< empty for a kernel without parameters
  std::string kernel;       ///< as core/kernels.h calls it: "linear_backward_data"
  std::string algorithm;    ///< where there are several: "winograd", "direct (jit:avx512_core)"
  double milliseconds = 0;  ///< of a batch, the best of some
  int64_t macs = 0;         ///< of a batch, by the direct algorithm; 0 of a kernel bound by memory
  int64_t bytes = 0;        ///< of a batch, which such a kernel must read and write

  /// Billions of floating-point operations a second, two to a multiply-accumulate.
  double gflops() const { return 2e-6 * static_cast<double>(macs) / milliseconds; }
  /// Billions of bytes a second.
  double gigabytes() const { return 1e-6 * static_cast<double>(bytes) / milliseconds; }
};

struct Profile {
  std::vector<KernelTime> kernels;
  double peak_gflops = 0;     ///< measured: a large matrix product
  double peak_gigabytes = 0;  ///< measured, a second: a copy of more than the caches hold

  /// The least that a kernel could take at these peaks, by its operations or its bytes.
  double floor_ms(const KernelTime& kernel) const;
};

/// Times the kernels of `model` one by one where it is, on random numbers, each for `kernel_ms`, for a batch
/// of images `input` [H,W,C], as the pass runs them: if `training` forward and backward, as a step needs them
/// (no gradient of the images), else with weights prepared and norms folded into convolutions. Loss,
/// optimizer and sums that are ops of their own have no row. On a card numbers are f32; a convolution's time
/// has the statistics in it that the norm after it wants, which have a row of their own, too.
Profile profile(Module& model, const Shape& input, int64_t batch, bool training, double kernel_ms = 60);

/// A row a kernel, then how much of `batch_ms`, the time of an entire batch, they make up.
std::string profile_table(const Profile& profile, double batch_ms, size_t width = any_width);
/// {"kernels": [a row each], "peak_gflops", "peak_gigabytes"}
nlohmann::ordered_json to_json(const Profile& profile);

}  // namespace espalier

// Floor: the least time that a step of training can take on a card, computed only from the network's shapes.
// Every kernel must move its operands through memory once, and do its multiplications: the floor is the
// longer of the two at the card's published best, summed over the kernels, which run one after another.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "espalier/profile/bench.h"
#include "espalier/util/terminal.h"

namespace espalier {

/// What a card does at best, as its maker says: dense, without sparsity.
struct CardPeaks {
  std::string name;
  double bytes_per_second;
  double f32, tf32, bf16;  ///< floating-point operations a second of matrix products, two to a MAC
  double operations_per_second(const std::string& precision) const;
};
/// NVIDIA H100 SXM5 80 GB, by its datasheet.
const CardPeaks& h100();

/// All calls of one kernel in a step.
struct KernelFloor {
  std::string kernel;  ///< as core/kernels.h calls it
  int64_t calls = 0;
  int64_t macs = 0, bytes = 0;
  double milliseconds = 0;
};

struct StepFloor {
  std::string precision;  ///< f32, tf32, bf16
  int64_t batch = 0;
  std::vector<KernelFloor>
      kernels;  ///< in the order of the network's ops, an op's forward before its backward
  std::vector<std::string> left_out;  ///< ops of the network whose kernels are not counted
  KernelFloor total() const;
  double images_per_second() const { return 1e3 * static_cast<double>(batch) / total().milliseconds; }
};

/// Of a step as bench_train has it: forward, loss, backward without a gradient of the images, and the
/// optimizer's update. `model` may be on Device::meta. In bf16 images, what ops put out and its gradients
/// have 2 bytes, weights, their gradients and optimizer state 4.
StepFloor step_floor(Module& model, const BenchOptions& options, const std::string& precision,
                     const CardPeaks& card = h100());

/// A row a kernel with its calls, operations, bytes and milliseconds in each of the precisions, which are
/// floors of one step; then the sums and the images a second.
std::string floor_table(const std::vector<StepFloor>& floors, size_t width = any_width);
nlohmann::ordered_json to_json(const StepFloor& floor);

}  // namespace espalier

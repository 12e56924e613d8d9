// Sensitivity: how much of each layer a trained network can do without, measured layer by layer: one is
// pruned, the network evaluated and put back as it was, to the same bits. Layers are not independent: to
// prune all by what each bears alone costs more than the sum.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "espalier/data/dataset.h"
#include "espalier/nn/module.h"
#include "espalier/run/config.h"

namespace espalier {

/// Where it is: what the network does as it is, and how many measurements of how many are done.
struct SensitivityProgress {
  double accuracy, loss;
  int64_t done, total;
  std::string layer;  ///< that is measured next
};

struct SensitivityOptions {
  std::string unit = "weight";  ///< of those that a share of a layer may go of: units_with_shares()
  std::string criterion = "l1";
  std::vector<double> shares = {0.5, 0.8, 0.9, 0.95};  ///< in 0..1
  /// Called before each measurement, and first of all once the network itself has been measured. What it
  /// throws ends them all; the network is as it was.
  std::function<void(const SensitivityProgress&)> progress = {};
};
/// weight, filter, row, column, kernel, channel
const std::vector<std::string>& units_with_shares();

struct Sensitivity {
  struct Measured {
    double share;
    int64_t gone;  ///< of the layer's units
    double accuracy, loss;
  };
  struct Layer {
    std::string name;  ///< or the first that makes a group's channels
    int64_t units;     ///< of channels real ones
    /// For each share; absent where nothing would be left of the layer, or of something that reads it.
    std::vector<std::optional<Measured>> measured;
  };
  std::string unit;
  std::vector<double> shares;
  double accuracy = 0, loss = 0;  ///< of the network as it is
  std::vector<Layer> layers;      ///< those whose units may go, in the network's order
};

/// Measures `model`, whose config is `config`, on the images of `judged`. A criterion that looks at data sees
/// those of `train`, once; the loss is the config's. UsageError for a unit or a criterion that is not known,
/// and for a criterion that says nothing of such units; Error where it finds nothing to look at.
Sensitivity measure_sensitivity(const Config& config, Module& model, const Dataset& train,
                                const Dataset& judged, const SensitivityOptions& options);

/// At most `count` images of `from`, evenly spread over it: always the same ones.
Dataset evenly_chosen(const Dataset& from, int64_t count);

/// For each layer the largest share that was measured whose loss is at most `max_loss`; 0 where none is.
std::vector<std::pair<std::string, double>> largest_shares(const Sensitivity& sensitivity, double max_loss);

/// The same as fields of a pruner that ranks each layer by itself: {"sparsity_of": {"fc1": 0.9, ...}}; of
/// channels the most that layers may lose, {"overrides": [{"layers": ["conv1"], "max_ratio": 0.5}, ...]}.
nlohmann::ordered_json prune_fields(const Sensitivity& sensitivity, double max_loss);

/// Rows are layers, columns shares: the accuracy that is lost, in points, or the loss.
std::string accuracy_table(const Sensitivity& sensitivity, size_t width);
std::string loss_table(const Sensitivity& sensitivity, size_t width);

/// All of it; a share that was not measured is null.
nlohmann::ordered_json to_json(const Sensitivity& sensitivity);

}  // namespace espalier

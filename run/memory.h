// The memory that a run takes, known from shapes before any of it is asked for.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "espalier/data/dataset.h"
#include "espalier/nn/module.h"
#include "espalier/run/config.h"

namespace espalier {

/// Bytes, at the stage that needs the most of each.
struct MemoryPlan {
  double data = 0;        ///< images of all splits, u8
  double parameters = 0;  ///< weights, with masks and what else belongs to them, as moving averages; where a
                          ///< stage cuts channels, the original network's, too, which is timed beside it
  double gradients = 0;
  double optimizer = 0;    ///< its state
  double teacher = 0;      ///< a stage's teacher's weights; what it computes counts as activations
  double activations = 0;  ///< what the ops of a forward pass of one batch put out, the batch included; of
                           ///< frozen layers what is kept of it (activation_bytes in nn/network.h)
  int64_t batch = 0;       ///< images that these are of
  /// The largest batch with which it takes at most `bytes`; 0: there is none.
  int64_t batch_within(double bytes) const;
  double total() const { return data + parameters + gradients + optimizer + teacher + activations; }
  /// "12 GB: data 1 MB, parameters 3 GB, ..."
  std::string text() const;

  void include(const DataSplits& data);
  /// A stage that trains these, which have the state that it gives them. `whole`: bytes of the
  /// network with nothing cut (whole_bytes).
  void include(const TrainConfig& config, const std::vector<Parameter*>& parameters, double whole);
  /// A stage's teacher, which looks at images of that shape before the network does. From here on `network`
  /// learns nothing.
  void include_teacher(Module& network, const Shape& image);
  /// A stage that cuts channels of these at once.
  void include_cut(const std::vector<Parameter*>& parameters, double whole);
};

/// Bytes of the parameters of the config's network, nothing cut: what network_of_shapes makes first.
double whole_bytes(const Config& config);

/// Bytes of a batch of one image's activations in the stage, from `first` on, that keeps most of them for its
/// gradients; of `model` as it is before stages cut it.
double most_activations(const Config& config, Module& model, size_t first = 0);

/// Only from shapes (Device::meta), in no time and no memory. Without `data` the least that it can be: a
/// batch is an image then, unless the data are drawn, whose number the config says. Of weights and of a
/// `checkpoint` to go on from, the headers are read: an Error says which shapes do not fit, and what was cut
/// before is not counted. Stages count from the checkpoint's up to the first that cuts channels.
MemoryPlan plan_memory(const Config& config, const DataSplits* data = nullptr,
                       const std::optional<std::filesystem::path>& checkpoint = {});

/// Error "x.json: a run needs about ..., and this machine has ..." where that is more than there is
/// (core/physical_memory.h); where a card computes, than it has, with the batch that would do.
void check_memory(const Config& config, const DataSplits* data = nullptr,
                  const std::optional<std::filesystem::path>& checkpoint = {});

}  // namespace espalier

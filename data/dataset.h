// Dataset: images and labels in memory, whatever they were read from.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "espalier/core/tensor.h"

namespace espalier {

struct Dataset {
  std::string name;                      ///< for messages: "mnist train"
  Tensor images;                         ///< u8 [N,H,W,C]
  std::vector<int32_t> labels;           ///< [N], each in 0 .. classes()-1
  std::vector<std::string> class_names;  ///< [classes]

  /// Images u8 [N,H,W,C] and labels i32 [N] on a device.
  struct Copy {
    Tensor images, labels;
    Tensor of = {};  ///< the images that it was copied from
  };
  /// On `device`, copied there the first time that a loader asks for it, and kept.
  const Copy& on(Device device) const;

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  int64_t height() const { return images.shape()[1]; }
  int64_t width() const { return images.shape()[2]; }
  int64_t channels() const { return images.shape()[3]; }
  int64_t classes() const { return static_cast<int64_t>(class_names.size()); }

  mutable Copy copy = {};  ///< on()'s
};

/// A copy of the images at `rows` of `from`, in that order.
Dataset subset(const Dataset& from, std::span<const int64_t> rows, const std::string& name);

struct DataSplits {
  Dataset train;
  Dataset validation;  ///< empty until hold_out, but of a folder that has its own
  Dataset test;
  std::vector<std::string> notes = {};  ///< what a person should know of the files, a line each
};

/// Moves round(share N) images, at least one and never all, drawn from `seed`, out of `train` into
/// `validation`; both keep the order of the file. A share of 0 moves nothing. UsageError unless 0 <= share <
/// 1 and there are two images.
void hold_out(DataSplits& data, double share, uint64_t seed);

}  // namespace espalier

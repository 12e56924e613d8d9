// What a run begins with, looked at part by part, so that all that is wrong is told at once.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "espalier/data/dataset.h"
#include "espalier/nn/module.h"
#include "espalier/run/build.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/config.h"
#include "espalier/util/mistakes.h"

namespace espalier {

struct Parts {
  WeightsNotes notes;
  std::unique_ptr<Module> model;   ///< null: there are mistakes
  std::optional<DataSplits> data;  ///< the same
  std::optional<int64_t> batches;  ///< of the training set; with the data
};

/// Data that were built once, for configs of which several read the same one after another.
class DataMemo {
 public:
  /// build_data's.
  const DataSplits& of(const Config& config, const std::optional<std::string>& root, const Say& say);

 private:
  nlohmann::ordered_json key_;
  DataSplits data_;
};

/// Takes the classes of `config` from its data where it leaves them to these. Adds to `mistakes`, which has
/// those of the config's text, all that a fresh run would refuse to begin with. Model, data and each stage
/// are looked at where their own part of the config is sound, whatever is wrong with the others. `root` and
/// `say`: as for build_data. `memo`: where the data come from and are kept.
Parts check_parts(Config& config, const std::optional<std::string>& root, Mistakes& mistakes,
                  const Say& say = {}, DataMemo* memo = nullptr);

}  // namespace espalier

#include "espalier/run/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "espalier/nn/names.h"
#include "espalier/run/build.h"
#include "espalier/run/pruning.h"
#include "espalier/train/evaluate.h"
#include "espalier/util/spelling.h"
#include "espalier/util/table.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

/// A share of the units of one layer, masked; of channels with what they said to every image moved on, so
/// that the network says what a cut one would.
PruneConfig share_of(const SensitivityOptions& options) {
  PruneConfig prune;
  prune.unit = options.unit;
  prune.criterion = {options.criterion};
  prune.apply = "zero";
  if (unit_named(options.unit).kind == Unit::channel) {
    prune.ratio = 0.0;
    prune.min_channels = 1;
  } else {
    prune.sparsity = 0.0;
  }
  return prune;
}

/// What a pruner is asked, so that only `layer` of `layers` is pruned.
void only(const std::string& layer, const std::vector<std::string>& layers, PruneOptions& options) {
  options.include = {layer};
  options.exclude.clear();
  for (const std::string& other : layers)  // one that lies under it would be meant, too
    if (other != layer && means_layer(layer, other)) options.exclude.push_back(other);
}

/// Whether so many may go of it, whatever their scores are.
bool may_go(Module& model, const Shape& input, const PruneOptions& options) {
  try {
    check_prune(model, input, options);
    return true;
  } catch (const UsageError&) {
    throw;
  } catch (const Error&) {
    return false;
  }
}

std::string share_text(double share) { return fmt::format("{}", share); }

/// A table of what `text` says of each measurement.
std::string table_of(const Sensitivity& sensitivity, size_t width,
                     const std::function<std::string(const Sensitivity::Measured&)>& text) {
  std::vector<std::string> titles{"<layer", Unit(unit_named(sensitivity.unit)).plural()};
  for (const double share : sensitivity.shares) titles.push_back(share_text(share));
  Table table(titles);
  for (const Sensitivity::Layer& layer : sensitivity.layers) {
    std::vector<std::string> row{layer.name, grouped(layer.units)};
    for (const auto& measured : layer.measured) row.push_back(measured ? text(*measured) : "-");
    table.add(std::move(row));
  }
  return table.str(width);
}

}  // namespace

const std::vector<std::string>& units_with_shares() {
  static const std::vector<std::string> names = {"weight", "filter", "row", "column", "kernel", "channel"};
  return names;
}

Sensitivity measure_sensitivity(const Config& config, Module& model, const Dataset& train,
                                const Dataset& judged, const SensitivityOptions& options) {
  position_of_name("unit", options.unit, units_with_shares());
  const PruneConfig pruner = share_of(options);
  const Pruning pruning(config, pruner, model, train);
  PruneOptions asked = pruning.options();
  const Shape& input = config.model.input;
  const UnitSet units = units_of(model, input, asked.unit, {}, {});
  check_scoring(units, asked.scoring);
  std::optional<Signals> gathered;  // of the network as it is: at each measurement the same
  asked.signals = [&, gather = asked.signals](const Criterion& criterion) {
    if (!gathered) gathered = gather(criterion);
    return *gathered;
  };
  Loader loader = evaluation_loader(config, judged);
  const auto loss = build_loss(config);
  const auto evaluated = [&] { return evaluate(model, loader, {.loss = *loss}); };

  const Evaluation whole = evaluated();
  Sensitivity result{.unit = options.unit,
                     .shares = options.shares,
                     .accuracy = whole.accuracy,
                     .loss = whole.loss,
                     .layers = {}};
  std::vector<std::string> layers;
  for (const UnitGroup& group : units.groups) layers.push_back(group.layer);
  SensitivityProgress progress{.accuracy = whole.accuracy,
                               .loss = whole.loss,
                               .done = 0,
                               .total = static_cast<int64_t>(layers.size() * options.shares.size()),
                               .layer = {}};
  for (size_t g = 0; g < layers.size(); ++g) {
    const UnitGroup& group = units.groups[g];
    const int64_t real = units.channels ? units.channels->graph.groups[group.channel_group].multiplicity : 1;
    Sensitivity::Layer layer{.name = layers[g], .units = real * group.count, .measured = {}};
    only(layers[g], layers, asked);
    for (const double share : options.shares) {
      progress.layer = layers[g];
      if (options.progress) options.progress(progress);
      ++progress.done;
      asked.target.value = share;
      layer.measured.emplace_back();
      if (!may_go(model, input, asked)) continue;
      const Transaction undo(model);
      const PruneResult pruned = prune(model, input, asked);
      const Evaluation now = evaluated();
      layer.measured.back() = {
          .share = share, .gone = pruned.total().pruned, .accuracy = now.accuracy, .loss = now.loss};
    }
    result.layers.push_back(std::move(layer));
  }
  return result;
}

Dataset evenly_chosen(const Dataset& from, int64_t count) {
  const int64_t size = from.size(), chosen = std::min(count, size);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < chosen; ++i) rows.push_back(i * size / chosen);
  return subset(from, rows, from.name);
}

std::vector<std::pair<std::string, double>> largest_shares(const Sensitivity& sensitivity, double max_loss) {
  std::vector<std::pair<std::string, double>> shares;
  for (const Sensitivity::Layer& layer : sensitivity.layers) {
    double largest = 0;
    for (const auto& measured : layer.measured)
      if (measured && measured->loss <= max_loss) largest = std::max(largest, measured->share);
    shares.emplace_back(layer.name, largest);
  }
  return shares;
}

Json prune_fields(const Sensitivity& sensitivity, double max_loss) {
  const auto shares = largest_shares(sensitivity, max_loss);
  if (sensitivity.unit != "channel") {
    Json of = Json::object();
    for (const auto& [layer, share] : shares) of[layer] = share;
    return {{"sparsity_of", of}};
  }
  Json overrides = Json::array();
  for (const auto& [layer, share] : shares) {
    Json one;
    one["layers"] = Json::array({layer});
    one["max_ratio"] = share;
    overrides.push_back(std::move(one));
  }
  return {{"overrides", overrides}};
}

std::string accuracy_table(const Sensitivity& sensitivity, size_t width) {
  return table_of(sensitivity, width, [&](const Sensitivity::Measured& one) {
    return fmt::format("{:.2f}", sensitivity.accuracy - one.accuracy);
  });
}

std::string loss_table(const Sensitivity& sensitivity, size_t width) {
  return table_of(sensitivity, width,
                  [](const Sensitivity::Measured& one) { return fmt::format("{:.4f}", one.loss); });
}

Json to_json(const Sensitivity& sensitivity) {
  Json layers = Json::array();
  for (const Sensitivity::Layer& layer : sensitivity.layers) {
    Json measured = Json::array();
    for (const auto& one : layer.measured)
      measured.push_back(one ? Json{{"share", one->share},
                                    {"gone", one->gone},
                                    {"accuracy", one->accuracy},
                                    {"loss", one->loss}}
                             : Json());
    layers.push_back({{"layer", layer.name}, {"units", layer.units}, {"measured", measured}});
  }
  return {{"unit", sensitivity.unit},
          {"accuracy", sensitivity.accuracy},
          {"loss", sensitivity.loss},
          {"shares", sensitivity.shares},
          {"layers", layers}};
}

}  // namespace espalier

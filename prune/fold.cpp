#include "espalier/prune/fold.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "espalier/autograd/ops/activation_bias.h"

namespace espalier {
namespace {

int64_t pad_of(const TapeEntry& entry) {
  const Attribute* pad = entry.attribute("pad");
  return pad ? std::get<int64_t>(*pad) : 0;
}

/// The activation that an op ends with, or is.
Activation activation_of(const TapeEntry& entry) {
  const Attribute* f = entry.attribute(entry.op == "activation" ? "function" : "activation");
  return f ? ops::activation_named(std::get<std::string>(*f)) : Activation::none;
}

/// What the channels of a value that go say to every image; nothing of those that stay. Empty if all stay.
using Constants = std::vector<std::optional<float>>;

/// Ops through which a constant channel stays constant, and which.
bool passes_constants(const TapeEntry& entry) {
  static const std::vector<std::string> always = {
      "batch_norm",          "activation", "max_pool2d", "flatten", "dropout",
      "global_average_pool", "add",        "concat",     "slice",   "scale"};
  if (entry.op == "average_pool2d") return pad_of(entry) == 0;
  return std::ranges::count(always, entry.op) > 0;
}

class Folding {
 public:
  /// Of the values, or of their moving averages.
  Folding(Module& model, const Tape& tape, const ChannelGraph& graph, bool averages = false)
      : tape_(tape), graph_(graph), averages_(averages) {
    for (const TapeValue& value : tape.values)
      parameters_.push_back(value.parameter.empty() ? nullptr : model.find(value.parameter));
    readers_.resize(tape.values.size());
    for (const TapeEntry& entry : tape.entries)
      for (const int input : entry.inputs) ++readers_[input];
    folds_.assign(graph.groups.size(), 1);
    for (const TapeEntry& entry : tape.entries) {
      if (passes_constants(entry) || takes_constants(entry)) continue;
      for (const int input : entry.inputs)
        if (!parameters_[input])
          for (const int g : graph.groups_of_value[input]) folds_[g] = 0;
    }
  }

  const std::vector<char>& folds() const { return folds_; }

  void fold(const ChannelVerdicts& kept) {
    mark_what_goes(kept);
    constants_.assign(tape_.values.size(), {});
    for (const TapeEntry& entry : tape_.entries) {
      if (takes_constants(entry)) move(entry);
      constants_[entry.output] = constants_of(entry);
    }
  }

 private:
  /// The running mean, of a norm that serves this place alone, that takes what a layer without a bias cannot;
  /// null if there is none, or if the layer's own activation stands between.
  Parameter* mean_behind(const TapeEntry& layer) const {
    if (readers_[layer.output] != 1 || activation_of(layer) != Activation::none) return nullptr;
    for (const TapeEntry& entry : tape_.entries)
      if (entry.op == "batch_norm" && entry.inputs[0] == layer.output)
        return readers_[entry.inputs[3]] == 1 ? parameters_[entry.inputs[3]] : nullptr;
    return nullptr;
  }

  bool takes_constants(const TapeEntry& entry) const {
    if (entry.op != "linear" && entry.op != "conv2d") return false;
    const bool biased = entry.inputs.size() > 2;
    const bool shared =  // what takes them serves several places
        readers_[entry.inputs[1]] > 1 || (biased && readers_[entry.inputs[2]] > 1);
    const bool grouped = !entry.channels.values.empty() && entry.channels.values[0] > 1;
    if (shared || grouped || pad_of(entry) != 0) return false;
    return biased || mean_behind(entry);
  }

  void mark_what_goes(const ChannelVerdicts& kept) {
    for (size_t g = 0; g < graph_.groups.size(); ++g)
      for (const GroupMember& member : graph_.groups[g].members) {
        if (!member.out || !folds_[g]) continue;
        std::vector<char>& goes = goes_[member.parameter];
        goes.resize(member.channel_of.size());
        for (size_t i = 0; i < goes.size(); ++i)
          if (member.channel_of[i] >= 0 && !kept[g][static_cast<size_t>(member.channel_of[i])]) goes[i] = 1;
      }
  }

  /// Without its weights or its norm's scale a channel that goes is its shift: the bias, the norm's beta, or
  /// 0.
  Constants shifts_of(const TapeEntry& entry) const {
    const auto goes = goes_.find(parameters_[entry.inputs[1]]);
    if (goes == goes_.end()) return {};
    const Tensor shift =
        entry.inputs.size() > 2 ? numbers_of(*parameters_[entry.inputs[2]]).to(Device::cpu) : Tensor();
    Constants constants(goes->second.size());
    for (size_t i = 0; i < constants.size(); ++i)
      if (goes->second[i]) constants[i] = shift.defined() ? shift.f32()[i] : 0.0f;
    return constants;
  }

  /// What an op says of its channels that go, before its activation.
  Constants before_activation(const TapeEntry& entry) const {
    if (entry.channels.rule == Channels::mixed) return shifts_of(entry);
    if (entry.op == "batch_norm") {
      Constants constants = shifts_of(entry);
      if (entry.inputs.size() > 5) add(constants, constants_[entry.inputs[5]]);
      return constants;
    }
    if (!passes_constants(entry)) return {};
    const auto channels = static_cast<size_t>(tape_.values[entry.output].shape[-1]);
    const std::vector<int64_t>& places = entry.channels.values;
    Constants constants = constants_[entry.inputs[0]];
    if (entry.op == "concat") {
      constants.assign(channels, {});
      for (size_t k = 0; k < entry.inputs.size(); ++k)
        std::ranges::copy(constants_[entry.inputs[k]], constants.begin() + places[k]);
    } else if (entry.op == "slice" && !constants.empty()) {
      constants = Constants(constants.begin() + places[0], constants.begin() + places[0] + places[1]);
    } else if (entry.op == "flatten" && !constants.empty()) {
      for (const size_t pixel = constants.size(); constants.size() < channels;)
        constants.push_back(constants[constants.size() - pixel]);
    } else if (entry.op == "add") {
      for (size_t k = 1; k < entry.inputs.size(); ++k) add(constants, constants_[entry.inputs[k]]);
    } else if (entry.op == "scale") {
      for (auto& constant : constants)
        if (constant) *constant *= static_cast<float>(std::get<double>(*entry.attribute("factor")));
    }
    return constants;
  }

  /// What an op says of its channels that go: here alone its activation is applied, and to them alone.
  Constants constants_of(const TapeEntry& entry) const {
    Constants constants = before_activation(entry);
    std::vector<float> said;
    for (const auto& constant : constants)
      if (constant) said.push_back(*constant);
    ESP_RUN(Device{}, activation_forward(said.data(), said.data(), activation_of(entry),
                                         static_cast<int64_t>(said.size())));
    auto next = said.begin();
    for (auto& constant : constants)
      if (constant) constant = *next++;
    return constants;
  }

  /// The sum of channels that are tied, so that the same of both go.
  static void add(Constants& sum, const Constants& more) {
    for (size_t i = 0; i < sum.size(); ++i)
      if (sum[i]) *sum[i] += more[i].value();
  }

  Tensor& numbers_of(Parameter& parameter) const { return averages_ ? parameter.average : parameter.value(); }

  /// What the constants add to the layer's outputs, those that go excepted: theirs are f(shift) alone.
  /// Running means are of both values and averages, and take what the values say.
  void move(const TapeEntry& entry) {
    const Constants& constants = constants_[entry.inputs[0]];
    if (std::ranges::all_of(constants, [](const auto& k) { return k.value_or(0.0f) == 0.0f; })) return;
    const Tensor weight = numbers_of(*parameters_[entry.inputs[1]]).to(Device::cpu);
    const int64_t outputs = weight.shape()[0], row = weight.shape().row_elements(),
                  channels = static_cast<int64_t>(constants.size());
    const bool biased = entry.inputs.size() > 2;
    if (averages_ && !biased) return;
    const auto goes = goes_.find(parameters_[entry.inputs[1]]);
    Tensor& shift = biased ? numbers_of(*parameters_[entry.inputs[2]]) : mean_behind(entry)->value();
    Tensor moved = shift.to(Device::cpu);
    for (int64_t o = 0; o < outputs; ++o) {
      if (goes != goes_.end() && goes->second[static_cast<size_t>(o)]) continue;
      double sum = 0;
      for (int64_t i = 0; i < row; ++i)
        sum += weight.f32()[o * row + i] * constants[i % channels].value_or(0.0f);
      moved.f32()[o] += static_cast<float>(biased ? sum : -sum);
    }
    shift.copy_from(moved);
  }

  const Tape& tape_;
  const ChannelGraph& graph_;
  const bool averages_;
  std::vector<Parameter*> parameters_;            // of each value, or null
  std::vector<int> readers_;                      // of each value
  std::vector<char> folds_;                       // by group
  std::map<Parameter*, std::vector<char>> goes_;  // outputs that go, of groups that fold
  std::vector<Constants> constants_;              // of each value
};

}  // namespace

std::vector<char> groups_that_fold(Module& model, const Tape& tape, const ChannelGraph& graph) {
  return Folding(model, tape, graph).folds();
}

void fold_constants(Module& model, const Tape& tape, const ChannelGraph& graph, const ChannelVerdicts& kept) {
  Folding(model, tape, graph).fold(kept);
  const bool averaged = std::ranges::any_of(
      model.parameters(), [](const Parameter* parameter) { return parameter->average.defined(); });
  if (averaged) Folding(model, tape, graph, true).fold(kept);
}

}  // namespace espalier

#include "espalier/nn/network.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ranges>
#include <set>

#include "espalier/nn/state_dict.h"

namespace espalier {
namespace {

/// One image of zeros through the model in inference mode, onto `tape`.
void record_pass(Module& model, const Shape& input, Tape& tape) {
  ESP_CHECK(input.axes() == 3, "network: expects one image [H,W,C], found ", input);
  const InMode inference(model, false);
  const NoGradient off;
  model.forward(
      Variable(Tensor::zeros({1, input[0], input[1], input[2]}, DType::f32, device_of(model.parameters()))));
  tape.close();
}

double bytes_of(const Tensor& tensor) { return static_cast<double>(tensor.bytes()); }

void add_parameter(LayerRow& row, NetworkTotals& totals, const Parameter& parameter) {
  const int64_t count = parameter.value().elements();
  totals.bytes += static_cast<int64_t>(parameter.value().bytes());
  if (!parameter.learned()) return;
  const int64_t nonzeros = parameter.nonzeros();
  if (row.parameters == 0) row.shape = file_shape(parameter);  // the weight comes first
  row.parameters += count;
  row.nonzeros += nonzeros;
  if (parameter.role != Role::weight) return;
  row.weights += count;
  row.weight_zeros += count - nonzeros;
}

}  // namespace

std::string layer_of(const TapeEntry& entry, const Tape& tape) {
  for (const int input : entry.inputs)
    if (const std::string& name = tape.values[input].parameter; !name.empty())
      return std::string(layer_name(name));
  return "";
}

int64_t macs_of(const TapeEntry& entry, const Tape& tape) {
  if (entry.channels.rule != Channels::mixed) return 0;
  const Shape& output = tape.values[entry.output].shape;
  return output.row_elements() / output[-1] * tape.values[entry.inputs[1]].shape.elements();
}

std::unordered_map<std::string, int64_t> macs_by_weight(const Tape& tape) {
  std::unordered_map<std::string, int64_t> macs;
  for (const TapeEntry& entry : tape.entries)
    if (const int64_t count = macs_of(entry, tape)) macs[tape.values[entry.inputs[1]].parameter] += count;
  return macs;
}

double activation_bytes(Module& model, const Shape& input) {
  Tape tape;
  record_pass(model, input, tape);
  std::set<std::string> frozen;
  for (const Parameter* parameter : model.parameters())
    if (parameter->frozen() || !parameter->learned()) frozen.insert(parameter->name);

  const size_t count = tape.values.size();
  std::vector<char> learns(count);  // values that have a gradient,
  std::vector<char> kept(count);    // and those that it needs
  for (size_t i = 0; i < count; ++i)
    learns[i] = !tape.values[i].parameter.empty() && !frozen.contains(tape.values[i].parameter);
  for (const TapeEntry& entry : tape.entries) {
    char& output = learns[static_cast<size_t>(entry.output)];
    for (const int in : entry.inputs) output |= learns[static_cast<size_t>(in)];
    if (!output) continue;
    kept[static_cast<size_t>(entry.output)] = 1;
    for (const int in : entry.inputs) kept[static_cast<size_t>(in)] = 1;
  }
  const auto reshapes = [&](const TapeEntry& entry) {
    return tape.tensor(entry.inputs.front()).shares(tape.tensor(entry.output));
  };
  for (const TapeEntry& entry : std::views::reverse(tape.entries))
    if (reshapes(entry))
      kept[static_cast<size_t>(entry.inputs.front())] |= kept[static_cast<size_t>(entry.output)];

  const auto bytes = [&](int value, bool of_kept) {
    const auto i = static_cast<size_t>(value);
    return tape.values[i].parameter.empty() && kept[i] == of_kept ? bytes_of(tape.tensor(value)) : 0.0;
  };
  double total = bytes(0, true), passing = bytes(0, false);
  for (const TapeEntry& entry : tape.entries) {
    if (reshapes(entry)) continue;
    total += bytes(entry.output, true);
    double here = bytes(entry.output, false);
    for (const int in : entry.inputs) here += bytes(in, false);
    passing = std::max(passing, here);
  }
  return total + passing;
}

Network::Network(Module& model, const Shape& input) {
  record_pass(model, input, tape);

  const auto macs = macs_by_weight(tape);
  for (const auto& [name, layer] : model.layers()) {
    LayerRow row{.name = name, .type = layer->type(), .shape = {}};
    for (const auto& parameter : layer->own_parameters()) {
      add_parameter(row, totals, *parameter);
      if (const auto found = macs.find(parameter->name); found != macs.end()) row.macs += found->second;
    }
    totals.parameters += row.parameters;
    totals.nonzeros += row.nonzeros;
    totals.macs += row.macs;
    totals.weights += row.weights;
    totals.weight_zeros += row.weight_zeros;
    layers.push_back(std::move(row));
  }
}

nlohmann::json Network::describe() const {
  using nlohmann::json;
  json values = json::array(), ops = json::array();
  for (const TapeValue& value : tape.values) {
    json row{{"shape", std::vector<int64_t>(value.shape.sizes().begin(), value.shape.sizes().end())}};
    if (!value.parameter.empty()) row["parameter"] = value.parameter;
    values.push_back(std::move(row));
  }
  for (const TapeEntry& entry : tape.entries) {
    json attributes = json::object();
    for (const auto& [name, value] : entry.attributes)
      std::visit([&, key = name](const auto& v) { attributes[key] = v; }, value);
    ops.push_back({{"op", entry.op},
                   {"attributes", std::move(attributes)},
                   {"inputs", entry.inputs},
                   {"output", entry.output},
                   {"channels",
                    {{"rule", channels_rule_name(entry.channels.rule)}, {"values", entry.channels.values}}}});
  }
  return {{"values", std::move(values)}, {"ops", std::move(ops)}};
}

}  // namespace espalier

#include "espalier/train/described_network.h"

#include <algorithm>
#include <map>
#include <set>

#include "espalier/autograd/ops.h"
#include "espalier/autograd/ops/activation_bias.h"
#include "espalier/core/utf8.h"
#include "espalier/formats/json.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

/// What the parameters of an op are, in the order of its inputs.
struct OpParameters {
  const char* layer;  ///< its type
  std::vector<Role> roles;
};
const OpParameters& parameters_of(const std::string& op) {
  static const std::map<std::string, OpParameters> known{
      {"conv2d", {"conv2d", {Role::weight, Role::weight, Role::bias}}},
      {"linear", {"linear", {Role::weight, Role::weight, Role::bias}}},
      {"batch_norm",
       {"batch_norm", {Role::weight, Role::scale, Role::shift, Role::buffer, Role::buffer, Role::scale}}}};
  static const OpParameters other{"layer", {}};
  const auto found = known.find(op);
  return found == known.end() ? other : found->second;
}

Channels channels_from(const Json& json, const std::string& place) {
  const auto rule = json_field<std::string>(json, "rule", place);
  for (int i = Channels::unknown; i <= Channels::reduced; ++i)
    if (const auto one = static_cast<Channels::Rule>(i); rule == channels_rule_name(one))
      return {one, json_field<std::vector<int64_t>>(json, "values", place)};
  fail(json_place(place, "rule"), ": no rule '", printable(rule), "'");
}

Attribute attribute_from(const Json& json, const std::string& place) {
  if (json.is_string()) return json_value<std::string>(json, place);
  if (json.is_array()) return json_value<std::vector<int64_t>>(json, place);
  if (json.is_number_float()) return json_value<double>(json, place);
  return json_value<int64_t>(json, place);
}

TapeEntry entry_from(const Json& json, const std::string& place) {
  TapeEntry entry;
  entry.op = json_field<std::string>(json, "op", place);
  for (const auto& [name, value] : json_field<std::map<std::string, Json>>(json, "attributes", place))
    entry.attributes.emplace_back(name, attribute_from(value, json_place(place, name)));
  entry.inputs = json_field<std::vector<int>>(json, "inputs", place);
  entry.output = json_field<int>(json, "output", place);
  entry.channels = channels_from(json_field<Json>(json, "channels", place), json_place(place, "channels"));
  return entry;
}

struct Description {
  std::vector<TapeValue> values;
  std::vector<TapeEntry> entries;
};

Description description_from(const std::string& text, const std::string& place) {
  const Json json = parse_json(text, place);
  Description d;
  for (const auto& value : json_field<std::vector<Json>>(json, "values", place)) {
    const std::string at = json_place(json_place(place, "values"), std::to_string(d.values.size()));
    const auto sizes = json_field<std::vector<int64_t>>(value, "shape", at);
    d.values.push_back({Shape(std::span<const int64_t>(sizes)),
                        value.contains("parameter") ? json_field<std::string>(value, "parameter", at) : ""});
    d.values.back().shape.elements();  // fails for one that no memory holds
  }
  const Shape image = d.values.empty() || !d.values[0].parameter.empty() ? Shape{} : d.values[0].shape;
  ESP_CHECK(image.axes() == 4 && image.elements() > 0, place, ": its first value is no image");

  // Every input is there before the op that reads it.
  std::set<int> known{0};
  const auto is_value = [&](int i) { return i >= 0 && static_cast<size_t>(i) < d.values.size(); };
  for (int i = 0; is_value(i); ++i)
    if (!d.values[static_cast<size_t>(i)].parameter.empty()) known.insert(i);
  for (const auto& op : json_field<std::vector<Json>>(json, "ops", place)) {
    const std::string at = json_place(json_place(place, "ops"), std::to_string(d.entries.size()));
    TapeEntry entry = entry_from(op, at);
    ESP_CHECK(!entry.inputs.empty(), at, ": has no inputs");
    for (const int input : entry.inputs)
      ESP_CHECK(known.contains(input), json_place(at, "inputs"), ": value ", input, " does not exist there");
    ESP_CHECK(is_value(entry.output) && known.insert(entry.output).second, json_place(at, "output"),
              ": found ", entry.output, ", expected a value that no op has put out");
    d.entries.push_back(std::move(entry));
  }
  ESP_CHECK(!d.entries.empty(), place, ": has no ops");
  const Shape& logits = d.values[static_cast<size_t>(d.entries.back().output)].shape;
  ESP_CHECK(logits.axes() == 2 && logits[0] == 1 && logits[1] > 0, place, ": puts out ", logits,
            ", expected a row of logits");
  return d;
}

/// Parameters that share the beginning of their names.
class DescribedLayer : public Module {
 public:
  explicit DescribedLayer(std::string type) : type_(std::move(type)) {}
  Variable forward(const Variable&) override { fail(type_, ": is run by its network"); }
  std::string type() const override { return type_; }
  std::vector<ChannelAxes> channel_axes() const override { return axes_; }
  Parameter& add(const std::string& name, Role role, Tensor value, FileLayout layout, int out, int in) {
    if (out >= 0) axes_.push_back({name, out, in});
    return add_parameter(name, role, std::move(value), layout);
  }

 private:
  std::string type_;
  std::vector<ChannelAxes> axes_;
};

class OpsInOrder : public Module {
 public:
  OpsInOrder(Description description, const NamedTensors& tensors) : d_(std::move(description)) {
    for (int at = 0; at < static_cast<int>(d_.entries.size()); ++at) {
      const TapeEntry& entry = d_.entries[static_cast<size_t>(at)];
      for (size_t i = 0; i < entry.inputs.size(); ++i) {
        last_use_[entry.inputs[i]] = at;
        if (!value(entry.inputs[i]).parameter.empty() && !parameters_.contains(entry.inputs[i]))
          parameters_[entry.inputs[i]] = &add(entry, i);
      }
    }
    for (const auto& [name, tensor] : tensors)
      if (name.find('/') == name.npos && !find(name))
        add(name, "layer", Role::buffer, Tensor::zeros(tensor.shape(), tensor.dtype()), {}, -1, -1);
  }

  Variable forward(const Variable& x) override {
    std::vector<Variable> values(d_.values.size());
    values[0] = x;
    for (const auto& [number, parameter] : parameters_)
      values[static_cast<size_t>(number)] = parameter->variable;
    Variable y;
    for (int at = 0; at < static_cast<int>(d_.entries.size()); ++at) {
      const TapeEntry& entry = d_.entries[static_cast<size_t>(at)];
      std::vector<Variable> inputs;
      for (const int input : entry.inputs) inputs.push_back(values[static_cast<size_t>(input)]);
      y = run(entry, inputs);
      for (const int input : entry.inputs)  // what is not looked at any more takes no memory
        if (last_use_.at(input) == at) values[static_cast<size_t>(input)] = {};
      values[static_cast<size_t>(entry.output)] = y;
    }
    return y;
  }
  std::string type() const override { return "described"; }

 private:
  const TapeValue& value(int number) const { return d_.values[static_cast<size_t>(number)]; }

  /// Input `i` of an op, which is a parameter.
  Parameter& add(const TapeEntry& entry, size_t i) {
    const TapeValue& parameter = value(entry.inputs[i]);
    const auto& [layer, roles] = parameters_of(entry.op);
    const Role role = i < roles.size() ? roles[i] : Role::scale;
    const bool mixes = entry.channels.rule == Channels::mixed;
    int in = -1;  // the axis of a weight's input channels: none of a depthwise convolution's
    if (!mixes)
      in = 0;
    else if (const int64_t groups = entry.channels.values.empty() ? 1 : entry.channels.values[0];
             role == Role::weight && (groups == 1 || groups < value(entry.inputs[0]).shape[-1]))
      in = parameter.shape.axes() - 1;
    return add(parameter.parameter, layer, role, Tensor::zeros(parameter.shape),
               described_layout(d_.entries, d_.values, entry.inputs[i]), 0, in);
  }

  Parameter& add(const std::string& name, const char* type, Role role, Tensor value, FileLayout layout,
                 int out, int in) {
    const std::string layer(layer_name(name));
    if (layer == name) return add_parameter(name, role, std::move(value), layout);
    auto& found = layers_[layer];
    if (!found) found = &add_child<DescribedLayer>(layer, type);
    Parameter& added = found->add(name.substr(layer.size() + 1), role, std::move(value), layout, out, in);
    added.name = name;
    added.variable.set_name(name);
    return added;
  }

  /// What an op of autograd/ops.h makes of its inputs, as the description has its attributes.
  Variable run(const TapeEntry& entry, const std::vector<Variable>& x) const {
    const std::string& op = entry.op;
    const auto has = [&](size_t least, size_t most) {
      ESP_CHECK(x.size() >= least && x.size() <= most, op, ": has ", x.size(), " inputs, expected ", least,
                most > least ? " or more" : "");
    };
    const auto whole = [&](const char* name) { return attribute<int64_t>(entry, name); };
    const auto number = [&](const char* name) { return static_cast<float>(attribute<double>(entry, name)); };
    const auto function = [&](const char* name) {
      return ops::activation_named(attribute<std::string>(entry, name));
    };
    if (op == "conv2d") {
      has(2, 3);
      return ops::conv2d(x[0], x[1], x.size() > 2 ? x[2] : Variable(),
                         {.stride = whole("stride"), .pad = whole("pad"), .groups = whole("groups")},
                         function("activation"));
    }
    if (op == "linear") {
      has(2, 3);
      return ops::linear(x[0], x[1], x.size() > 2 ? x[2] : Variable(), function("activation"));
    }
    if (op == "batch_norm") {
      has(5, 6);
      return ops::batch_norm(x[0],
                             {.gamma = x[1],
                              .beta = x[2],
                              .running_mean = x[3],
                              .running_variance = x[4],
                              .eps = number("eps"),
                              .momentum = number("momentum"),
                              .training = false},
                             function("activation"), x.size() > 5 ? x[5] : Variable());
    }
    if (op == "concat") return ops::concat(x);
    if (op == "add" || op == "mul") {
      has(2, 2);
      return op == "add" ? ops::add(x[0], x[1]) : ops::mul(x[0], x[1]);
    }
    if (op == "max_pool2d" || op == "average_pool2d") {
      has(1, 1);
      return (op == "max_pool2d" ? ops::max_pool2d : ops::average_pool2d)(x[0], whole("window"),
                                                                          whole("stride"), whole("pad"));
    }
    if (op == "activation") return ops::activation(x[0], function("function"));
    if (op == "global_average_pool") return ops::global_average_pool(x[0]);
    if (op == "flatten") return ops::flatten(x[0]);
    if (op == "scale") return ops::scale(x[0], number("factor"));
    if (op == "slice") return ops::slice(x[0], whole("first"), whole("channels"));
    if (op == "dropout") return x[0];  // in inference
    return placeholder(entry, x);
  }

  /// Of an op that is a program's own all is known but its numbers, which is enough for a tape.
  Variable placeholder(const TapeEntry& entry, const std::vector<Variable>& x) const {
    ESP_CHECK(Tape::active(), "op '", printable(entry.op),
              "' is none of Espalier's: only the program that has it can run this network");
    Attributes attributes;
    for (const auto& [name, attribute] : entry.attributes) attributes.emplace_back(name, attribute);
    return record({.op = entry.op,
                   .attributes = std::move(attributes),
                   .inputs = x,
                   .output = Tensor::zeros(value(entry.output).shape),
                   .channels = entry.channels,
                   .backward = {}});
  }

  template <class T>
  static const T& attribute(const TapeEntry& entry, const char* name) {
    const Attribute* found = entry.attribute(name);
    ESP_CHECK(found && std::holds_alternative<T>(*found), entry.op, ": has no attribute '", name,
              "' of its kind");
    return std::get<T>(*found);
  }

  Description d_;
  std::map<int, Parameter*> parameters_;  // by the number of their value
  std::map<int, int> last_use_;           // of a value: the op that reads it last
  std::map<std::string, DescribedLayer*> layers_;
};

}  // namespace

FileLayout described_layout(const std::vector<TapeEntry>& entries, const std::vector<TapeValue>& values,
                            int number) {
  const auto maker = [&](int value) { return std::ranges::find(entries, value, &TapeEntry::output); };
  for (const TapeEntry& entry : entries) {
    if (entry.inputs.size() < 2 || entry.inputs[1] != number) continue;
    if (entry.op == "conv2d") return {FileLayout::oihw};
    if (entry.op != "linear") continue;
    auto from = maker(entry.inputs[0]);  // of features: through what keeps them to the flatten
    while (from != entries.end() &&
           (from->channels.rule == Channels::kept || from->channels.rule == Channels::tied))
      from = maker(from->inputs[0]);
    if (from == entries.end() || from->channels.rule != Channels::flattened || from->channels.values.empty())
      return {};
    const int64_t positions = from->channels.values[0];
    const Shape& weight = values[static_cast<size_t>(number)].shape;
    // Of one channel or one pixel both orders of columns are the same.
    if (positions <= 1 || weight.axes() != 2 || weight[1] <= positions || weight[1] % positions != 0)
      return {};
    return {FileLayout::flattened, positions};
  }
  return {};
}

DescribedNetwork described_network(const std::string& description, const NamedTensors& tensors,
                                   const std::string& source) {
  Description d = description_from(description, source + ": its network cannot be read");
  const Shape image = d.values[0].shape,
              logits = d.values[static_cast<size_t>(d.entries.back().output)].shape;
  return {std::make_unique<OpsInOrder>(std::move(d), tensors), {image[1], image[2], image[3]}, logits[1]};
}

}  // namespace espalier

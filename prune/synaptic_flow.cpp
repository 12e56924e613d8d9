#include "espalier/prune/synaptic_flow.h"

#include <algorithm>
#include <cmath>

#include "espalier/graph/op.h"
#include "espalier/graph/ops.h"
#include "espalier/nn/network.h"

namespace espalier {
namespace {

/// A value of the pass: what it is, is variable times 2^power.
struct Scaled {
  Variable variable;
  int power = 0;
};

Tensor magnitudes(const Tensor& from) {
  Tensor made = from.clone(Device::cpu);
  for (float& number : made.span<float>()) number = std::abs(number);
  return made;
}

Variable times_power(const Variable& x, int power) {
  return power == 0 ? x : ops::scale(x, std::ldexp(1.0f, std::clamp(power, -120, 120)));
}

/// The power of two that the largest number is near.
int power_of(const Tensor& numbers) {
  const Tensor here = numbers.to(Device::cpu);
  float largest = 0;
  for (const float number : here.span<float>()) largest = std::max(largest, std::abs(number));
  int power = 0;
  if (largest > 0) std::frexp(largest, &power);
  return power;
}

/// What an op makes of its inputs, with one power for all that scale.
Scaled run(const OpCall& call, const std::vector<Scaled>& values) {
  const auto is_scaled = [&](size_t i) {
    const OpInput& row = call.op.inputs[std::min(i, call.op.inputs.size() - 1)];
    return !row.role || row.adds;
  };
  Scaled made;
  bool any = false;
  const std::vector<int>& inputs = call.node.inputs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == GraphNode::absent || !is_scaled(i)) continue;
    const int power = values[static_cast<size_t>(inputs[i])].power;
    made.power = any ? std::max(made.power, power) : power;
    any = true;
  }
  std::vector<Variable> of_one_power;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == GraphNode::absent) {
      of_one_power.emplace_back();
      continue;
    }
    const Scaled& value = values[static_cast<size_t>(inputs[i])];
    of_one_power.push_back(is_scaled(i) ? times_power(value.variable, value.power - made.power)
                                        : value.variable);
  }
  made.variable = call.op.run({call, of_one_power});
  const int power = power_of(made.variable.value());
  made.variable = times_power(made.variable, -power);
  made.power += power;
  return made;
}

}  // namespace

Signals synaptic_flow(Module& model, const Shape& input, const Criterion& criterion, const SignalData&) {
  const Graph graph = with_activations_apart(Network(model, input).graph);
  const Device device = device_of(model.parameters());
  std::vector<Scaled> values(graph.values.size());
  values[0].variable = Variable(Tensor::full({1, input[0], input[1], input[2]}, 1.0f, device));
  for (size_t i = 1; i < values.size(); ++i)
    if (graph.is_parameter(static_cast<int>(i))) {
      const Parameter& parameter = *model.find(graph.values[i].parameter);
      values[i].variable = Variable(magnitudes(parameter.value()).to(device), parameter.learned());
    }
  for (const GraphNode& node : graph.nodes) {
    const Op* op = find_op(node.op);
    ESP_CHECK(op && op->run, "prune: ", criterion.name, " runs the network's graph, and op ", node.op,
              " is none of Espalier's");
    const OpCall call(graph, node, *op);
    ESP_CHECK(
        op->homogeneous && op->homogeneous(call), "prune: ", criterion.name,
        " needs a network whose ops scale with their inputs, as relu does, and ",
        op->name == "activation" ? join("activation ", call.attribute<std::string>("function")) : op->name,
        " does not");
    values[static_cast<size_t>(node.output)] = run(call, values);
  }
  ops::sum(values[static_cast<size_t>(graph.nodes.back().output)].variable).backward();
  Signals signals;
  for (size_t i = 1; i < values.size(); ++i) {
    const Variable& variable = values[i].variable;
    if (!graph.is_parameter(static_cast<int>(i)) || !variable.requires_gradient()) continue;
    const Parameter* parameter = model.find(graph.values[i].parameter);
    signals.of_parameters[parameter] = variable.gradient().defined() ? variable.gradient().to(Device::cpu)
                                                                     : Tensor::zeros(parameter->shape());
  }
  return signals;
}

}  // namespace espalier

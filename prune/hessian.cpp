#include "espalier/prune/hessian.h"

#include <algorithm>

#include "espalier/core/kernels.h"
#include "espalier/graph/op.h"
#include "espalier/graph/ops.h"
#include "espalier/nn/network.h"

namespace espalier {
namespace {

/// The derivative of the mean cross-entropy of z / T as z moves: mean over N of sum_k (p - onehot)_k z~_k /
/// T, p = softmax(z / T).
Variable tangent_of_loss(const Variable& logits, const Variable& moved, const Tensor& labels,
                         double temperature) {
  const auto cold = static_cast<float>(1.0 / temperature);
  const int64_t n = logits.shape()[0], classes = logits.shape()[1];
  const Tensor here = labels.to(Device::cpu);
  Tensor target = Tensor::zeros({n, classes});
  for (int64_t i = 0; i < n; ++i) target.f32()[i * classes + here.data<int32_t>()[i]] = -1.0f;
  const Variable error =
      ops::add(ops::softmax(ops::scale(logits, cold)), Variable(target.to(logits.value().device())));
  return ops::scale(ops::sum(ops::mul(error, moved)), cold / static_cast<float>(n));
}

/// A forward pass beside its tangent, value by value; an undefined tangent is 0.
struct Pass {
  std::vector<Variable> values, tangents;
};

void run(const GraphNode& node, const Graph& graph, Pass& pass) {
  const Op* op = find_op(node.op);
  ESP_CHECK(op && op->run, "prune: products with the Hessian run the network's graph, and op ", node.op,
            " is none of Espalier's");
  const OpCall call(graph, node, *op);
  const std::vector<Variable> inputs = inputs_of(node, pass.values),
                              tangents = inputs_of(node, pass.tangents);
  const auto at = static_cast<size_t>(node.output);
  pass.values[at] = op->run({call, inputs});
  if (std::ranges::none_of(tangents, [](const Variable& one) { return one.defined(); })) return;
  ESP_CHECK(op->tangent, "prune: products with the Hessian need the tangent of every op, and of ", op->name,
            " there is none yet");
  pass.tangents[at] = op->tangent({call, inputs}, {call, tangents});
}

/// Adds up what `pass` leaves in the weights' gradients for each batch, a mean over batches.
template <class RunPass>
std::map<const Parameter*, Tensor> mean_over_batches(Module& model, const SignalData& data,
                                                     const RunPass& pass) {
  const auto weights = prunable_weights(model);
  std::map<const Parameter*, Tensor> sums;
  for (int64_t i = 0; i < data.batches; ++i) {
    pass(data.batch(i));
    for (Parameter* weight : weights) {
      Tensor& sum = sums[weight];
      if (!sum.defined()) sum = Tensor::zeros(weight->shape(), DType::f32, weight->value().device());
      if (weight->gradient().defined())
        ESP_RUN(sum.device(), scale(sum.f32(), weight->gradient().f32(),
                                    1.0f / static_cast<float>(data.batches), sum.elements(), true));
    }
    for (Parameter* parameter : model.parameters()) parameter->variable.clear_gradient();
  }
  return sums;
}

}  // namespace

void add_hessian_product(Module& model, const Graph& graph, const SignalBatch& batch, double temperature,
                         const std::map<const Parameter*, Tensor>& direction) {
  Pass pass{std::vector<Variable>(graph.values.size()), std::vector<Variable>(graph.values.size())};
  pass.values[0] = Variable(batch.images);
  for (size_t i = 1; i < graph.values.size(); ++i) {
    if (!graph.is_parameter(static_cast<int>(i))) continue;
    const Parameter* parameter = model.find(graph.values[i].parameter);
    pass.values[i] = parameter->variable;
    if (const auto found = direction.find(parameter); found != direction.end())
      pass.tangents[i] = Variable(found->second);
  }
  for (const GraphNode& node : graph.nodes) run(node, graph, pass);
  const auto last = static_cast<size_t>(graph.nodes.back().output);
  if (!pass.tangents[last].defined()) return;  // nothing that moves is read
  tangent_of_loss(pass.values[last], pass.tangents[last], batch.labels, temperature).backward();
}

Signals hessian_gradients(Module& model, const Shape& input, const Criterion& criterion,
                          const SignalData& data) {
  const double temperature = criterion.all_options().number("temperature");
  const auto gradient = mean_over_batches(model, data, [&](const SignalBatch& batch) {
    const Variable logits = model.forward(Variable(batch.images));
    ops::softmax_cross_entropy(ops::scale(logits, static_cast<float>(1.0 / temperature)), batch.labels)
        .loss.backward();
  });
  const Graph graph = with_activations_apart(Network(model, input).graph);
  Signals signals;
  signals.of_parameters = mean_over_batches(model, data, [&](const SignalBatch& batch) {
    add_hessian_product(model, graph, batch, temperature, gradient);
  });
  for (auto& [parameter, product] : signals.of_parameters) product = product.to(Device::cpu);
  return signals;
}

}  // namespace espalier

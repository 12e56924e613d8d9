// Pruning as a book, step 3: products with the Hessian, and the signal of the criterion grasp.
#pragma once

#include <map>

#include "espalier/graph/graph.h"
#include "espalier/prune/signals.h"

namespace espalier {

/// H v of the mean cross-entropy of a batch, whose logits are divided by `temperature`: H is its matrix of
/// second derivatives with respect to the parameters, in inference, v of `direction`, in which a parameter
/// that is not there has zeros. Exact (Pearlmutter: Fast Exact Multiplication by the Hessian, Neural
/// Computation 1994): the pass is run together with its tangent along v (Op::tangent), from which backward()
/// goes. Of ops with kinks, relu and max pooling, each image's side of them counts. It is added to the
/// parameters' gradients. Error that names an op of which no tangent is known.
void add_hessian_product(Module& model, const Graph& graph, const SignalBatch& batch, double temperature,
                         const std::map<const Parameter*, Tensor>& direction);

/// H g, g the gradient, both of the mean over all batches, with respect to the weights of convolutions and
/// linear layers: half of what |g|^2, the speed at which the loss falls, changes by per change of each weight
/// (Wang, Zhang and Grosse: Picking Winning Tickets Before Training by Preserving Gradient Flow, ICLR 2020).
/// The loss is cross-entropy, its logits divided by the criterion's `temperature`.
Signals hessian_gradients(Module& model, const Shape& input, const Criterion& criterion,
                          const SignalData& data);

}  // namespace espalier

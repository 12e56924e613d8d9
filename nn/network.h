// Network: what the graph of one example pass says about a model, as numbers a person asks for: layers,
// shapes, parameters, non-zeros, multiply-accumulates.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "espalier/graph/graph.h"
#include "espalier/nn/module.h"

namespace espalier {

/// One convolution, linear layer or norm: a row of `espalier inspect`.
struct LayerRow {
  std::string name;        ///< "fc1"
  std::string type;        ///< "linear"
  Shape shape;             ///< of its weight, as PyTorch would have it: [O,I] or [O,I,Kh,Kw]
  int64_t parameters = 0;  ///< learned numbers: weight and bias
  int64_t nonzeros = 0;    ///< of them
  int64_t weights = 0;     ///< only of its weight: what sparsity counts
  int64_t weight_zeros = 0;
  int64_t macs = 0;  ///< multiply-accumulates of one image, as if dense; only convolutions and linear layers
  double sparsity() const {
    return weights ? static_cast<double>(weight_zeros) / static_cast<double>(weights) : 0.0;
  }
};

/// The entire network: sums over layers.
struct NetworkTotals {
  int64_t parameters = 0, nonzeros = 0, macs = 0, weights = 0, weight_zeros = 0;
  int64_t bytes = 0;  ///< of the learned numbers and buffers, dense f32
  /// Share of zeros among the weights of convolutions and linear layers; biases and norms are not counted.
  double sparsity() const {
    return weights ? static_cast<double>(weight_zeros) / static_cast<double>(weights) : 0.0;
  }
};

/// Runs one example of `input` ([H,W,C], zeros) through `model` in inference mode and records it.
struct Network {
  Network(Module& model, const Shape& input);

  Graph graph;
  std::vector<LayerRow> layers;
  NetworkTotals totals;
};

/// Bytes that one image of `input` ([H,W,C]) takes on its way through `model`: its own and those of what the
/// ops put out; a reshape shares memory and counts once. Below the lowest layer that learns, where others are
/// frozen, nothing is kept, and only what the largest op reads and writes counts. It runs the model in
/// inference mode, which on Device::meta (core/tensor.h) takes no memory itself.
double activation_bytes(Module& model, const Shape& input);

/// Multiply-accumulates of one image by the names of the weights they are made with; a layer that is used
/// several times counts each time. Products of two activations are under "".
std::unordered_map<std::string, int64_t> macs_by_weight(const Graph& graph);

/// Multiply-accumulates of one op of a graph, by its row (graph/op.h). Of a program's own op that mixes
/// channels: output positions x weights that meet there.
int64_t macs_of(const Graph& graph, const GraphNode& node);

}  // namespace espalier

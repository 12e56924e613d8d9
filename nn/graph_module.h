// A network of which there is nothing but its graph (graph/graph.h), as files of programs with modules of
// their own have it: a module like any other.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "espalier/graph/op.h"
#include "espalier/nn/norm.h"
#include "espalier/nn/state_dict.h"

namespace espalier {

/// Runs the ops of a graph in order, in training and in inference, those together that layers run together
/// (Op::fuses). Its layers are the beginnings of its parameters' names, "conv1" of "conv1.weight". An op
/// without a row (graph/op.h) can be traced, with zeros as its output, but not run: an Error says so.
class GraphModule : public Module {
 public:
  /// With the graph's shapes, and zeros. Of the file's `tensors` those that no op reads become buffers (a
  /// norm's count of batches), and parameters stand in their order.
  explicit GraphModule(Graph graph, const NamedTensors& tensors = {});
  Variable forward(const Variable& x) override;
  std::string type() const override { return "graph"; }

  const Graph& graph() const { return graph_; }

 private:
  class Layer;

  /// What one op makes, or two that run together.
  struct Step {
    const GraphNode& node;                ///< the op; of two the later one
    std::optional<OpCall> call = {};      ///< none of an op without a row
    std::optional<OpCall> in_front = {};  ///< of two the first
    BatchNorm2d* norm = nullptr;          ///< the layer that counts the batches of its norm
    std::vector<int> done_with = {};      ///< values that no later step looks at

    std::vector<int> inputs() const;
  };

  Parameter& add(int value);
  Parameter& add(const std::string& name, const std::string& type, Role role, Tensor numbers,
                 FileLayout layout, int out, int in);
  void add_step(const GraphNode& node, const GraphNode* in_front);
  Variable run(const Step& step, const std::vector<Variable>& values) const;
  Variable placeholder(const GraphNode& node, const std::vector<Variable>& inputs) const;

  Graph graph_;
  std::vector<Parameter*> parameters_;  // of each value, or null
  std::deque<Step> steps_;              // in order
  std::map<std::string, Layer*> layers_;
  std::map<std::string, BatchNorm2d*> norms_;  // layers that normalise by the batch
};

struct TensorFile;

/// The network that a file of weights has in its metadata, with the cuts that follow it: shapes, and zeros.
/// Error that begins with `source` where there is none.
std::unique_ptr<GraphModule> graph_module_of(const TensorFile& file, const std::string& source);

/// The network of a file: JSON (graph/graph_json.h), or weights in whose metadata it is, with the cuts that
/// follow it. With only shapes, and zeros. UsageError where there is no such file, Error for one that
/// describes no network.
std::unique_ptr<GraphModule> read_graph_module(const std::string& file);

/// How a file lays out value `number` of a graph, a parameter: PyTorch's way, by what op reads it. Layers
/// (nn/layers.h) declare the same; one that does not would be read wrongly where there is but the graph.
FileLayout file_layout(const Graph& graph, int number);

}  // namespace espalier

// The catalogue of ops: a row says all there is to know of an op beside how it computes, and stands beside
// that in ops/<family>.cpp. Who counts, couples, folds, times, runs or writes ops asks the row, and knows
// none by name.
//
// Shapes and channels have no rules of their own here: what an op puts out, and what becomes of channels, its
// function (ops.h) says when it runs, on Device::meta without any numbers.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/core/kernels.h"
#include "espalier/graph/graph.h"
#include "espalier/util/error.h"

namespace espalier {

struct KernelCall;
struct KernelContext;

/// What a parameter is to its layer.
enum class Role : uint8_t {
  weight,  ///< of a convolution or linear layer: what pruning counts and cuts
  bias,
  scale,      ///< of a normalisation: gamma
  shift,      ///< of a normalisation: beta
  embedding,  ///< a token, or what is added to tokens: learned, not pruned
  buffer,     ///< not learned: running statistics
};

struct OpInput {
  std::string_view name;  ///< "x", "weight": PyTorch's where it has one
  enum Kind : uint8_t { required, optional, variadic } kind = required;
  std::optional<Role> role = {};  ///< of the parameter that stands here; none of what passes through
  bool is_oihw = false;           ///< a weight [O,Kh,Kw,I] that files have as [O,I,Kh,Kw]
  bool adds = false;  ///< a parameter that is added, or taken away, as a bias is (Op::homogeneous)
};

struct OpAttribute {
  std::string_view name;
  Attribute otherwise;      ///< its value where a graph does not say; says its type, too
  bool is_required = true;  ///< a graph has to say
  /// Of a whole number: whether a list may stand for it, with one for each axis, [down, across], or for each
  /// side, [top, left, bottom, right].
  enum Lists : uint8_t { none, by_axis = 2, by_side = 4 } list = none;
};

struct Op;

/// An op at its place in a graph: what rules are asked about.
class OpCall {
 public:
  /// Error for a node whose inputs or attributes are not its row's; only find_op reports unknown ops.
  OpCall(const Graph& graph, const GraphNode& node, const Op& op);

  const Graph& graph;
  const GraphNode& node;
  const Op& op;

  /// The value that is the input of this name; GraphNode::absent where it is left out.
  int input(std::string_view name) const;
  bool has(std::string_view name) const { return input(name) != GraphNode::absent; }
  const Shape& shape(std::string_view name) const { return graph.shape(input(name)); }
  const Shape& output() const { return graph.shape(node.output); }
  /// The node's, or the row's default.
  template <class T>
  const T& attribute(std::string_view name) const {
    return std::get<T>(find_attribute(name));
  }
  int64_t whole(std::string_view name) const { return attribute<int64_t>(name); }
  /// A whole number, or a list by axis or by side.
  ByAxis by_axis(std::string_view name) const;
  Padding by_side(std::string_view name) const;
  float real(std::string_view name) const { return static_cast<float>(attribute<double>(name)); }
  /// The activation that the op ends with, or is; none where its row has none.
  Activation activation() const;

 private:
  const Attribute& find_attribute(std::string_view name) const;
};

/// What an op is run on.
struct OpArguments {
  const OpCall& call;
  const std::vector<Variable>& values;  ///< one for each of the node's inputs; undefined where absent
  bool training = false;                ///< norms by the batch, dropout drops
  std::optional<float> momentum = {};   ///< of running statistics, in place of the op's own

  /// The input of this name; undefined where it is left out.
  Variable operator()(std::string_view name) const;
};

/// What each channel says that goes, whatever the image; nothing of those that stay. Empty if all stay.
using Constants = std::vector<std::optional<float>>;

/// What folding (channels/fold.h) asks a row.
struct ConstantArguments {
  const OpCall& call;
  const std::vector<Constants>& values;  ///< one for each of the node's inputs
  const Constants& shift;                ///< of channels of the op's own that go: its bias or beta, or 0

  const Constants& operator()(std::string_view name) const;
};

struct Op {
  std::string name;
  std::vector<OpInput> inputs;
  std::vector<OpAttribute> attributes = {};
  /// Which attribute is the activation that the op ends with; empty: none.
  std::string_view activation = {};
  /// The op on these Variables.
  std::function<Variable(const OpArguments&)> run = {};
  /// An op that, where only it reads this one's output, and as its first input, runs together with it, and
  /// how; empty: none. An activation of this op's own stands between.
  std::string_view fuses = {};
  std::function<Variable(const OpArguments& first, const OpArguments& second)> run_fused = {};
  /// How the output moves in inference where its inputs move, to first order: sum over inputs of
  /// (dy/d input) tangent of it, without the op's own activation (`activation` above), which is an op after
  /// it here (with_activations_apart). `tangents` has one for each input; undefined: it does not move; one at
  /// least is defined. Made of ops, so that backward() goes through it: prune/hessian.h. Null: of this op it
  /// is not known.
  std::function<Variable(const OpArguments& inputs, const OpArguments& tangents)> tangent = {};
  /// Whether, in inference and without its own activation, s > 0 times as much comes out where s times as
  /// much goes in, and what OpInput::adds is s times as much, too. Null: no.
  std::function<bool(const OpCall&)> homogeneous = {};
  /// Multiply-accumulates of one image. Null: none.
  std::function<int64_t(const OpCall&)> macs = {};
  /// Channels of the output that are constant, before the op's own activation (`activation` above), which
  /// channels/fold.cpp applies; an op that changes numbers otherwise does so itself here, as clip. Null:
  /// those that come in do not stay constant, which is always safe.
  std::function<Constants(const ConstantArguments&)> constants = {};
  /// Whether they do at this place. Null: always.
  std::function<bool(const OpCall&)> keeps_constants = {};
  /// Whether what constant inputs add to each output is the same at all its places, so that it can go into
  /// the op's bias. Null: for an op that does not mix channels.
  std::function<bool(const OpCall&)> takes_constants = {};
  /// While training each channel is normalised by the batch's mean and variance, which move its inputs
  /// running_mean and running_var.
  bool normalizes_batch = false;
  /// The kernels that it runs, forward first (graph/kernels.h). Null: it moves nothing.
  std::function<std::vector<KernelCall>(const KernelContext&)> kernels = {};

  /// The place of an input of that name among `inputs`; Error where there is none.
  size_t place(std::string_view input) const;
  /// Null where it has none of that name.
  const OpAttribute* attribute(std::string_view name) const;
};

/// What a node reads, of `values` by their numbers; undefined where an optional input is left out.
std::vector<Variable> inputs_of(const GraphNode& node, const std::vector<Variable>& values);

/// The same graph, in which activations that ops end with are ops of their own, after them.
Graph with_activations_apart(Graph graph);

/// The node that runs together with `node`, after it (Op::fuses); null where there is none.
const GraphNode* fused_behind(const Graph& graph, const GraphNode& node);

/// All rows.
std::vector<const Op*> op_catalogue();
/// The row of that name, or null.
const Op* find_op(std::string_view name);
/// Adds the row of a program's own op. Error where there is one of that name.
void add_op(Op op);

}  // namespace espalier

#include "espalier/onnx/patterns.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

namespace espalier {
namespace {

/// The nodes while patterns are looked for: who makes a name, and who reads it.
class Nodes {
 public:
  Nodes(std::vector<OnnxNode> nodes, const std::string& output, const OnnxConstants& constants)
      : nodes_(std::move(nodes)), gone_(nodes_.size(), 0), output_(output), constants_(constants) {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (const std::string& name : nodes_[i].outputs) maker_[name] = i;
      for (const std::string& name : nodes_[i].inputs) readers_[name].push_back(i);
    }
  }

  size_t size() const { return nodes_.size(); }
  const OnnxNode& operator[](size_t i) const { return nodes_[i]; }
  bool gone(size_t i) const { return gone_[i] != 0; }

  /// The only node that reads what node `i` puts out, if it does so with that op.
  std::optional<size_t> only_reader(size_t i, const std::string& op = {}) const {
    const auto found = readers_.find(nodes_[i].output());
    if (found == readers_.end() || nodes_[i].output() == output_) return std::nullopt;
    std::optional<size_t> only;
    for (const size_t reader : found->second) {
      if (gone_[reader] || reader == only) continue;
      if (only) return std::nullopt;
      only = reader;
    }
    return only && (op.empty() || nodes_[*only].op == op) ? only : std::nullopt;
  }
  /// The node that makes a name, if it does so with that op.
  std::optional<size_t> maker(const std::string& name, const std::string& op) const {
    const auto found = maker_.find(name);
    if (found == maker_.end() || gone_[found->second] || nodes_[found->second].op != op) return std::nullopt;
    return found->second;
  }
  const OnnxConstant* constant(const std::string& name) const { return constants_(name); }
  /// Whether a name is one number about `value`.
  bool is(const std::string& name, double value) const {
    const OnnxConstant* found = constants_(name);
    return found && !found->is_whole() && found->elements() == 1 &&
           std::abs(double{found->numbers[0]} - value) < 1e-4 * std::max(1.0, std::abs(value));
  }
  /// The other one of a node's two inputs, if one of them is about `value`.
  std::optional<std::string> beside(size_t i, double value) const {
    const OnnxNode& node = nodes_[i];
    if (node.inputs.size() != 2) return std::nullopt;
    if (is(node.inputs[1], value)) return node.inputs[0];
    if (node.op != "Div" && is(node.inputs[0], value)) return node.inputs[1];
    return std::nullopt;
  }
  /// The other one of a node's two inputs, if one of them is `name`.
  std::optional<std::string> other(size_t i, const std::string& name) const {
    const OnnxNode& node = nodes_[i];
    if (node.inputs.size() != 2) return std::nullopt;
    if (node.inputs[0] == name) return node.inputs[1];
    if (node.inputs[1] == name) return node.inputs[0];
    return std::nullopt;
  }
  /// One node in place of the last of `those`, of which none is read elsewhere.
  void replace(const std::vector<size_t>& those, OnnxNode by) {
    for (const size_t i : those) gone_[i] = 1;
    const size_t last = those.back();
    for (const std::string& name : by.inputs) readers_[name].push_back(last);
    nodes_[last] = std::move(by);
    gone_[last] = 0;
  }
  std::vector<OnnxNode> left() {
    std::vector<OnnxNode> all;
    for (size_t i = 0; i < nodes_.size(); ++i)
      if (!gone_[i]) all.push_back(std::move(nodes_[i]));
    return needed_for(output_, std::move(all));
  }

 private:
  std::vector<OnnxNode> nodes_;
  std::vector<char> gone_;
  std::map<std::string, size_t> maker_;
  std::map<std::string, std::vector<size_t>> readers_;
  const std::string output_;
  const OnnxConstants& constants_;
};

OnnxNode one(const std::string& op, const OnnxNode& at, const std::string& x) {
  return {op, at.name, {x}, at.output()};
}

/// Sigmoid or HardSigmoid, and the product with what it is of.
void find_gate(Nodes& nodes, size_t i, const std::string& becomes) {
  const std::string x = nodes[i].input(0);
  if (const auto product = nodes.only_reader(i, "Mul");
      product && nodes.other(*product, nodes[i].output()) == x)
    nodes.replace({i, *product}, one(becomes, nodes[*product], x));
}

/// Erf(x / sqrt 2), 1 more, times x and a half.
void find_gelu(Nodes& nodes, size_t erf) {
  std::optional<size_t> inner = nodes.maker(nodes[erf].input(0), "Div");
  std::optional<std::string> x = inner ? nodes.beside(*inner, std::sqrt(2.0)) : std::nullopt;
  if (!x) {
    inner = nodes.maker(nodes[erf].input(0), "Mul");
    x = inner ? nodes.beside(*inner, std::sqrt(0.5)) : std::nullopt;
  }
  const auto sum = nodes.only_reader(erf, "Add");
  if (!x || !sum || !nodes.beside(*sum, 1.0) || nodes.only_reader(*inner) != erf) return;
  const auto product = nodes.only_reader(*sum, "Mul");
  if (!product) return;
  if (nodes.beside(*product, 0.5) == nodes[*sum].output()) {  // (erf + 1) / 2, then times x
    const auto last = nodes.only_reader(*product, "Mul");
    if (last && nodes.other(*last, nodes[*product].output()) == x)
      nodes.replace({*inner, erf, *sum, *product, *last}, one("Gelu", nodes[*last], *x));
    return;
  }
  const auto factor = nodes.other(*product, nodes[*sum].output());
  if (factor == x) {  // x (erf + 1), then the half
    const auto last = nodes.only_reader(*product, "Mul");
    if (last && nodes.beside(*last, 0.5))
      nodes.replace({*inner, erf, *sum, *product, *last}, one("Gelu", nodes[*last], *x));
    return;
  }
  const auto half = factor ? nodes.maker(*factor, "Mul") : std::nullopt;  // x / 2, times (erf + 1)
  if (half && nodes.beside(*half, 0.5) == x && nodes.only_reader(*half) == product)
    nodes.replace({*inner, erf, *sum, *half, *product}, one("Gelu", nodes[*product], *x));
}

/// relu6(x + 3) / 6, by itself or times x.
void find_hard(Nodes& nodes, size_t clip) {
  const auto sum = nodes.maker(nodes[clip].input(0), "Add");
  const auto x = sum ? nodes.beside(*sum, 3.0) : std::nullopt;
  const OnnxNode& node = nodes[clip];
  const bool six = node.inputs.size() > 2 ? nodes.is(node.input(1), 0.0) && nodes.is(node.input(2), 6.0)
                                          : node.real("min") == 0.0f && node.real("max") == 6.0f;
  if (!x || !six || nodes.only_reader(*sum) != clip) return;
  const auto is_sixth = [&](size_t i) {
    return nodes[i].op == "Div"   ? nodes.beside(i, 6.0)
           : nodes[i].op == "Mul" ? nodes.beside(i, 1.0 / 6.0)
                                  : std::nullopt;
  };
  const auto next = nodes.only_reader(clip);
  if (!next) return;
  if (is_sixth(*next)) {
    const auto product = nodes.only_reader(*next, "Mul");
    if (product && nodes.other(*product, nodes[*next].output()) == x)
      nodes.replace({*sum, clip, *next, *product}, one("HardSwish", nodes[*product], *x));
    else
      nodes.replace({*sum, clip, *next}, one(hard_sigmoid_of_a_sixth, nodes[*next], *x));
  } else if (nodes[*next].op == "Mul" && nodes.other(*next, nodes[clip].output()) == x) {
    const auto last = nodes.only_reader(*next);
    if (last && is_sixth(*last))
      nodes.replace({*sum, clip, *next, *last}, one("HardSwish", nodes[*last], *x));
  }
}

/// A product with a matrix, and a bias of each of its columns.
void find_bias(Nodes& nodes, size_t product) {
  const OnnxConstant* weight = nodes.constant(nodes[product].input(1));
  const auto sum = nodes.only_reader(product, "Add");
  if (nodes[product].inputs.size() != 2 || !weight || weight->dims.size() != 2 || !sum) return;
  const auto bias = nodes.other(*sum, nodes[product].output());
  const OnnxConstant* numbers = bias ? nodes.constant(*bias) : nullptr;
  if (!numbers || numbers->dims != std::vector<int64_t>{weight->dims[1]}) return;
  OnnxNode together(matmul_with_bias, nodes[product].name,
                    {nodes[product].input(0), nodes[product].input(1), *bias}, nodes[*sum].output());
  nodes.replace({product, *sum}, std::move(together));
}

}  // namespace

bool is_of_a_sixth(const OnnxNode& hard_sigmoid) {
  return std::abs(hard_sigmoid.real("alpha").value_or(0.2f) - 1.0f / 6.0f) < 1e-6f &&
         hard_sigmoid.real("beta").value_or(0.5f) == 0.5f;
}

std::vector<OnnxNode> simplified(std::vector<OnnxNode> list, const std::string& output,
                                 const OnnxConstants& constants) {
  Nodes nodes(std::move(list), output, constants);
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes.gone(i)) continue;
    const std::string op = nodes[i].op;
    if (op == "Sigmoid") find_gate(nodes, i, "Silu");
    if (op == "HardSigmoid" && is_of_a_sixth(nodes[i])) find_gate(nodes, i, "HardSwish");
    if (op == "Erf") find_gelu(nodes, i);
    if (op == "Clip") find_hard(nodes, i);
    if (op == "MatMul") find_bias(nodes, i);
  }
  return nodes.left();
}

}  // namespace espalier

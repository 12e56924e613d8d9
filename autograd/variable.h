// Variable: a tensor with a history, and the engine that walks it. A Tensor is numbers; a Variable is numbers
// that remember which op made them from which variables. backward() visits those ops in reverse and adds up
// gradients: nothing else in Espalier accumulates a gradient.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "espalier/core/tensor.h"

namespace espalier {

struct Node;

/// "layer1.0.conv1" of "layer1.0.conv1.weight". A part of the argument, which has to outlive it.
std::string_view layer_name(std::string_view parameter_name);

/// What a Variable's copies share.
struct VariableState {
  Tensor value;
  Tensor gradient;  ///< undefined until a backward pass reaches it
  bool requires_gradient = false;
  std::string name;             ///< of a parameter; empty otherwise
  std::shared_ptr<Node> maker;  ///< the op whose output this is; null for leaves
};

class Variable {
 public:
  Variable() = default;
  explicit Variable(Tensor value, bool requires_gradient = false, std::string name = {});

  bool defined() const { return state_ != nullptr; }
  const Tensor& value() const { return state_->value; }
  Tensor& value() { return state_->value; }
  const Shape& shape() const { return state_->value.shape(); }
  bool requires_gradient() const { return state_ && state_->requires_gradient; }
  void set_requires_gradient(bool on) { state_->requires_gradient = on; }
  /// d(what backward() was called on)/d(this), of value's shape; undefined before.
  const Tensor& gradient() const { return state_->gradient; }
  Tensor& gradient() { return state_->gradient; }
  void clear_gradient() { state_->gradient = Tensor(); }
  const std::string& name() const { return state_->name; }
  void set_name(std::string name) { state_->name = std::move(name); }

  /// Computes the gradient of this variable, which must have one element, with respect to every variable it
  /// came from that requires one, and adds it to theirs. The history is freed as it is walked: buffers go
  /// back to the allocator once passed, and a second call is an error. Where memory runs out, OutOfMemory
  /// says which op's gradients asked for it.
  void backward() const;
  /// The same, for a variable of any shape, from the gradient `seed` of that shape.
  void backward(Tensor seed) const;

  const std::shared_ptr<VariableState>& state() const { return state_; }

 private:
  std::shared_ptr<VariableState> state_;
};

/// Where a backward function puts the gradients of its op's inputs.
class Gradients {
 public:
  /// Memory for an input's gradient: overwrite it, or add into it if `accumulate` (a later gradient of the
  /// same variable: the kernel adds, so that a residual costs no extra pass).
  struct Target {
    Tensor& gradient;  ///< of the input's own type
    bool accumulate;

    template <class T>
    T* data() const {
      return gradient.data<T>();
    }
    float* f32() const { return gradient.f32(); }
  };

  explicit Gradients(Node& node) : node_(node) {}
  /// False for an input that needs no gradient (data, say): skip the work.
  bool needed(size_t input) const;
  Target into(size_t input) const;
  /// The same, but a first gradient takes the memory of `spent`, of the same shape and looked at by nobody
  /// else, such as the output's own gradient: for kernels that write a number's gradient after they have read
  /// it.
  Target into(size_t input, const Tensor& spent) const;
  /// A gradient that exists already, such as the output's own: moved in if it is the first, added otherwise.
  void give(size_t input, Tensor gradient) const;

 private:
  Node& node_;
};

/// Given the gradient of the output, writes those of the inputs. Captures what it needs, nothing more.
using Backward = std::function<void(Tensor dy, const Gradients& gradients)>;

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>>;
using Attributes = std::vector<std::pair<std::string_view, Attribute>>;

/// What an op does to channels (the last axis of an image or of features; an output axis of a weight is the
/// first). Structural pruning reads this from the graph of a pass; it knows no op by name.
struct Channels {
  enum Rule : uint8_t {
    unknown,    ///< no rule: structural pruning refuses the op by name
    kept,       ///< output channel i is input channel i: activation, pooling, norm
    tied,       ///< as kept, of several inputs that must agree: add, mul
    joined,     ///< inputs side by side: concat; `values`: the first output channel of each input
    sliced,     ///< `values`: first channel, channels
    flattened,  ///< [N,H,W,C] to [N,HWC]: channel c becomes features hw C + c; `values`: HW
    whole,    ///< all channels of the inputs are looked at together, or none comes out as it was: layer norm,
              ///< softmax, a product of activations. Structural pruning leaves those around it as they are
    mixed,    ///< every output channel from all inputs of its group: convolution, linear; `values`: groups
    reduced,  ///< no channels left: sum, mean, loss
  };
  Rule rule;
  std::vector<int64_t> values;

  Channels(Rule r = unknown, std::vector<int64_t> v = {}) : rule(r), values(std::move(v)) {}
};
const char* channels_rule_name(Channels::Rule rule);

/// While one is alive on this thread, ops record no history: inference.
class NoGradient {
 public:
  NoGradient();
  ~NoGradient();
  NoGradient(const NoGradient&) = delete;
  NoGradient& operator=(const NoGradient&) = delete;

 private:
  bool before_;
};
bool gradients_enabled();

/// True if an op on these inputs must keep what its backward needs.
bool needs_history(std::initializer_list<const Variable*> inputs);

/// What an op hands to record().
struct OpRecord {
  std::string_view op;  ///< a string literal
  Attributes attributes;
  std::vector<Variable>
      inputs;  ///< in the order of the op's row (graph/op.h); one that is left out: undefined
  Tensor output;
  Channels channels;
  Backward backward;
};

/// Sees the ops that are recorded on its thread from when it is made until it is closed, whether or not
/// gradients are on; of several that are open the innermost. graph/trace.h is one.
class OpObserver {
 public:
  OpObserver(const OpObserver&) = delete;
  OpObserver& operator=(const OpObserver&) = delete;
  virtual void recorded(const OpRecord& op, const Variable& output) = 0;
  /// Whether it is after what ops there are, and not after their numbers: it then sees each op by itself, and
  /// one that is not known here stands in with zeros.
  virtual bool describes() const { return true; }
  /// Of one that does not describe: whether of two ops that run as one, which show as the second, it has to
  /// see the first, too. Each is told by its parameter.
  virtual bool separates(const Variable& /*first*/, const Variable& /*second*/) const { return false; }
  /// The innermost open one, or null.
  static OpObserver* active();
  void close();

 protected:
  OpObserver();
  ~OpObserver() { close(); }

 private:
  OpObserver* outer_;
  bool open_ = true;
};

/// How many ops this thread has recorded so far: says how far a pass came that an Error has ended.
uint64_t ops_recorded();

/// Makes an op's output a Variable: with this history if gradients are on and an input requires one. The
/// active OpObserver sees it.
Variable record(OpRecord op);

}  // namespace espalier

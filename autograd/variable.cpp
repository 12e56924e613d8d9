#include "espalier/autograd/variable.h"

#include <algorithm>
#include <atomic>
#include <iterator>

#include "espalier/core/kernels.h"
#include "espalier/core/out_of_memory.h"

namespace espalier {

std::string_view layer_name(std::string_view parameter_name) {
  return parameter_name.substr(0, parameter_name.rfind('.'));
}

/// One recorded op. An output's state owns the node that made it, a node owns the states of its inputs, so a
/// history lives exactly as long as something needs it.
struct Node {
  std::string_view op;
  std::vector<std::shared_ptr<VariableState>> inputs;
  Backward backward;
  uint64_t
      sequence;  // later ops have larger numbers, so reverse order of numbers is a reverse topological order

  ~Node();
};

/// Lets go of what came before this node in a loop: nested destructors of a long history would overflow the
/// stack.
Node::~Node() {
  auto todo = std::move(inputs);
  while (!todo.empty()) {
    const auto state = std::move(todo.back());
    todo.pop_back();
    if (!state || state.use_count() > 1 || !state->maker || state->maker.use_count() > 1) continue;
    auto& earlier = state->maker->inputs;
    todo.insert(todo.end(), std::move_iterator(earlier.begin()), std::move_iterator(earlier.end()));
    earlier.clear();
  }
}

namespace {

thread_local bool history_on = true;
thread_local OpObserver* active_observer = nullptr;
std::atomic<uint64_t> next_sequence{1};
thread_local uint64_t recorded = 0;

/// "the gradients of conv1 (conv2d)": the op by its first parameter's layer.
std::string gradients_text(const Node& node) {
  std::string layer;
  for (const auto& input : node.inputs)
    if (input && !input->name.empty() && layer.empty()) layer = layer_name(input->name);
  return layer.empty() ? join("the gradients of ", node.op)
                       : join("the gradients of ", layer, " (", node.op, ")");
}

/// dst += src, in place if nothing else looks at dst's memory.
void add_gradient(Tensor& dst, const Tensor& src) {
  Tensor sum = dst.unique() ? dst : dst.like(dst.shape());
  ESP_RUN_REAL(dst, add(sum.data<Real>(), dst.data<Real>(), src.data<Real>(), dst.elements()));
  dst = std::move(sum);
}

struct Step {
  std::shared_ptr<VariableState> output;
  std::shared_ptr<Node> node;
};

/// Every op that `root` was computed by, in the order they were recorded.
std::vector<Step> history_of(const std::shared_ptr<VariableState>& root) {
  std::vector<Step> steps;
  std::vector<std::shared_ptr<VariableState>> todo{root};
  std::unordered_map<const Node*, bool> seen;
  while (!todo.empty()) {
    auto state = std::move(todo.back());
    todo.pop_back();
    if (!state->maker || !seen.emplace(state->maker.get(), true).second) continue;
    for (const auto& input : state->maker->inputs)
      if (input && input->requires_gradient) todo.push_back(input);
    auto node = state->maker;
    steps.push_back({std::move(state), std::move(node)});
  }
  std::sort(steps.begin(), steps.end(),
            [](const Step& a, const Step& b) { return a.node->sequence < b.node->sequence; });
  return steps;
}

}  // namespace

Variable::Variable(Tensor value, bool requires_gradient, std::string name)
    : state_(std::make_shared<VariableState>(
          VariableState{std::move(value), Tensor(), requires_gradient, std::move(name), nullptr})) {}

void Variable::backward() const {
  ESP_CHECK(defined() && value().elements() == 1, "backward: start from one number, this variable has shape ",
            defined() ? shape() : Shape{});
  Tensor one = value().like(shape());
  one.fill(1.0f);
  backward(std::move(one));
}

void Variable::backward(Tensor seed) const {
  ESP_CHECK(requires_gradient(), "backward: nothing this variable came from requires a gradient");
  ESP_CHECK(seed.shape() == shape(), "backward: gradient has shape ", seed.shape(), ", the variable ",
            shape());
  ESP_CHECK(seed.dtype() == value().dtype(), "backward: gradient is ", dtype_name(seed.dtype()),
            ", the variable ", dtype_name(value().dtype()));
  ESP_CHECK(!state_->maker || state_->maker->backward,
            "backward: this history has been walked and freed already");
  state_->gradient = std::move(seed);
  auto steps = history_of(state_);
  while (!steps.empty()) {
    Step step = std::move(steps.back());
    steps.pop_back();
    Tensor dy = std::exchange(step.output->gradient, Tensor());
    ESP_CHECK(step.node->backward, "backward: part of this history has been walked and freed already");
    try {
      if (dy.defined()) step.node->backward(std::move(dy), Gradients(*step.node));
    } catch (const OutOfMemory& error) {
      throw error.asked_by(gradients_text(*step.node));
    }
    step.node->backward = nullptr;
    step.node->inputs.clear();
  }
}

bool Gradients::needed(size_t input) const {
  const auto& state = node_.inputs[input];
  return state && state->requires_gradient;
}

Gradients::Target Gradients::into(size_t input) const {
  VariableState& state = *node_.inputs[input];
  if (!state.gradient.defined()) {
    state.gradient = state.value.like(state.value.shape());
    return {state.gradient, false};
  }
  if (!state.gradient.unique()) state.gradient = state.gradient.clone();
  return {state.gradient, true};
}

Gradients::Target Gradients::into(size_t input, const Tensor& spent) const {
  VariableState& state = *node_.inputs[input];
  if (!state.gradient.defined() && spent.unique() && spent.shape() == state.value.shape() &&
      spent.dtype() == state.value.dtype()) {
    state.gradient = spent;
    return {state.gradient, false};
  }
  return into(input);
}

void Gradients::give(size_t input, Tensor gradient) const {
  VariableState& state = *node_.inputs[input];
  if (gradient.shape() != state.value.shape()) gradient = gradient.reshape(state.value.shape());
  if (state.gradient.defined())
    add_gradient(state.gradient, gradient);
  else
    state.gradient = std::move(gradient);
}

NoGradient::NoGradient() : before_(std::exchange(history_on, false)) {}
NoGradient::~NoGradient() { history_on = before_; }
bool gradients_enabled() { return history_on; }

bool needs_history(std::initializer_list<const Variable*> inputs) {
  return history_on &&
         std::any_of(inputs.begin(), inputs.end(), [](auto* v) { return v->requires_gradient(); });
}

uint64_t ops_recorded() { return recorded; }

Variable record(OpRecord op) {
  ++recorded;
  Variable output(std::move(op.output));
  if (active_observer) active_observer->recorded(op, output);
  const bool wanted =
      std::any_of(op.inputs.begin(), op.inputs.end(), [](auto& v) { return v.requires_gradient(); });
  if (!history_on || !wanted) return output;
  output.set_requires_gradient(true);
  auto node = std::make_shared<Node>();
  node->op = op.op;
  node->backward = std::move(op.backward);
  node->sequence = next_sequence++;
  node->inputs.reserve(op.inputs.size());
  for (auto& input : op.inputs) node->inputs.push_back(input.state());
  output.state()->maker = std::move(node);
  return output;
}

const char* channels_rule_name(Channels::Rule rule) {
  switch (rule) {
    case Channels::unknown:
      return "unknown";
    case Channels::kept:
      return "kept";
    case Channels::tied:
      return "tied";
    case Channels::joined:
      return "joined";
    case Channels::sliced:
      return "sliced";
    case Channels::flattened:
      return "flattened";
    case Channels::whole:
      return "whole";
    case Channels::mixed:
      return "mixed";
    case Channels::reduced:
      return "reduced";
  }
  return "?";
}

OpObserver::OpObserver() : outer_(std::exchange(active_observer, this)) {}
OpObserver* OpObserver::active() { return active_observer; }
void OpObserver::close() {
  if (open_) active_observer = outer_;
  open_ = false;
}

}  // namespace espalier

// Module: a layer or a network of layers; owns parameters and children by name, as PyTorch names them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "espalier/nn/parameter.h"

namespace espalier {

/// Which axis of a parameter counts a layer's output channels, and which its input channels; -1: none, as of
/// a depthwise convolution's weight, whose one input is of its own channel. Declared once by each layer;
/// structural pruning needs no more to cut it.
struct ChannelAxes {
  std::string parameter;  ///< "weight", "bias"
  int out, in;
};

/// A parameter of a layer by its full name, "fc1.weight"; one that has no name of its own is named as its
/// layer.
inline std::string parameter_name(const std::string& layer, const std::string& own) {
  return own.empty() ? layer : layer + "." + own;
}

/// One axis of one parameter after a cut of channels (channels/surgery.h).
struct AxisCut {
  std::string parameter;  ///< "conv1.weight"
  int axis;
  int64_t before;             ///< its size
  std::vector<int64_t> kept;  ///< the indices that stay, ascending

  bool operator==(const AxisCut&) const = default;
};

class Module {
 public:
  virtual ~Module() = default;
  Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  virtual Variable forward(const Variable& x) = 0;
  Variable operator()(const Variable& x) { return forward(x); }
  /// "linear", "conv2d"
  virtual std::string type() const = 0;
  virtual std::vector<ChannelAxes> channel_axes() const { return {}; }

  /// Every parameter of this module and its children, in order of construction, with full names:
  /// "fc1.weight".
  std::vector<Parameter*> parameters();
  /// Every module below this one that has parameters of its own, with its full name: "fc1".
  std::vector<std::pair<std::string, Module*>> layers();
  const std::vector<std::unique_ptr<Parameter>>& own_parameters() const { return own_; }
  /// The parameter of that full name, or null.
  Parameter* find(const std::string& name);

  /// Moves every parameter with all that belongs to it, and every buffer but counts of batches
  /// (Parameter::is_count). Inputs of forward() have to be there, too.
  void to(Device device);

  /// What surgery has cut since the model was made, an entry for each axis: cut from a fresh one, they make
  /// its shapes. Kept in checkpoints.
  std::vector<AxisCut> history;

  /// Training or inference: dropout and batch norm differ. A frozen layer stays in inference mode.
  void set_training(bool on);
  bool training() const { return training_; }
  /// While a Frozen says so.
  bool frozen() const { return frozen_; }

 protected:
  Parameter& add_parameter(const std::string& name, Role role, Tensor value, FileLayout layout = {});
  template <class Child, class... Arguments>
  Child& add_child(const std::string& name, Arguments&&... arguments) {
    auto child = std::make_unique<Child>(std::forward<Arguments>(arguments)...);
    Child& reference = *child;
    adopt(name, std::move(child));
    return reference;
  }
  void adopt(const std::string& name, std::unique_ptr<Module> child);

 private:
  friend class Frozen;
  void set_frozen(bool on);
  void rename(const std::string& prefix);

  std::string name_;  // full, "" for the root
  std::vector<std::unique_ptr<Parameter>> own_;
  std::vector<std::pair<std::string, std::unique_ptr<Module>>> children_;
  bool training_ = true, frozen_ = false;
};

/// While one is alive a module is in this mode, and afterwards in that it had, whatever is thrown.
class InMode {
 public:
  InMode(Module& module, bool training) : module_(module), before_(module.training()) {
    module.set_training(training);
  }
  ~InMode() { module_.set_training(before_); }
  InMode(const InMode&) = delete;
  InMode& operator=(const InMode&) = delete;

 private:
  Module& module_;
  bool before_;
};

/// While one is alive these layers of a model learn nothing: their own parameters need no gradient, so that
/// optimizers made meanwhile leave them alone and backward() ends at the lowest layer that does learn; they
/// are in inference mode, so that a norm keeps its running statistics and normalises by them.
class Frozen {
 public:
  Frozen(Module& model, std::vector<Module*> layers);
  ~Frozen();
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;

 private:
  Module& model_;
  std::vector<Module*> layers_;
};

}  // namespace espalier

// Parameter: what a network learns, with everything that belongs to it: one list of named tensors, so that
// masking, cutting, moving, saving and counting treat all of them, whoever added them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/graph/op.h"

namespace espalier {

/// How files that other tools read store a parameter (PyTorch's layout); in memory it is always ours.
struct FileLayout {
  enum Kind : uint8_t {
    same,       ///< as in memory
    oihw,       ///< in memory [O,Kh,Kw,I]
    flattened,  ///< a linear weight after a flatten of [H,W,C]: column c HW + hw in the file, hw C + c in
                ///< memory
  };
  Kind kind = same;
  int64_t positions = 1;  ///< HW, for flattened
};

/// Tensors by what they are to a parameter: "value", "gradient", "mask", and the names of its state.
using NamedState = std::map<std::string, Tensor, std::less<>>;

/// What a tensor is to the parameter that it belongs to, as its name says.
enum class TensorUse : uint8_t {
  value,
  gradient,
  mask,
  stand_in,   ///< "average" (optim/ema.h): what is evaluated in the value's place
  optimizer,  ///< "slot0", "slot1", ...: optimizer state (optim/optimizer.h)
  unmasked,   ///< "unmasked_...": a method's own of all numbers, which no mask holds at 0
  stage,      ///< "stage", in checkpoints: of what a stage trains besides the network
  method,     ///< any other name: a method's own
};
TensorUse use_of(std::string_view name);
/// A method's own under this name are the weights that a step moves in the value's place: the value is what
/// the mask leaves of them (prune/straight_through.h).
inline constexpr const char* unmasked_value = "unmasked_value";

struct Parameter {
  std::string name;  ///< PyTorch's: "fc1.weight"
  Role role = Role::weight;
  Variable variable;
  FileLayout layout = {};
  Tensor mask =
      {};  ///< u8 of 0 and 1, value's shape; undefined: all kept. The value is stored already masked.
  /// f32 tensors of value's shape, each under a name of letters, digits and `_`: the optimizer's, the moving
  /// average, and whatever a method keeps for each number. A mask holds them at 0 with the value, all but
  /// those whose names begin with "unmasked_"; a cut cuts them, they move with it, and checkpoints hold them
  /// as "NAME/PARAMETER" without anybody being told.
  NamedState state = {};

  Tensor& value() { return variable.value(); }
  const Tensor& value() const { return variable.value(); }
  Tensor& gradient() { return variable.gradient(); }
  const Tensor& gradient() const { return variable.gradient(); }
  const Shape& shape() const { return variable.shape(); }
  bool learned() const { return role != Role::buffer; }
  /// Would be learned, but needs no gradient: no optimizer moves it (Frozen in module.h).
  bool frozen() const { return learned() && !variable.requires_gradient(); }

  /// num_batches_tracked: the host counts, on whatever device the network is.
  bool is_count() const { return value().dtype() == DType::i64; }

  /// The one list of what belongs to it: visit(name, tensor) for the value, the gradient, the mask and then
  /// the state in the order of names, of which those that are undefined are left out.
  template <class Visit>
  void for_tensors(const Visit& visit) {
    visit_tensors(*this, visit);
  }
  template <class Visit>
  void for_tensors(const Visit& visit) const {
    visit_tensors(*this, visit);
  }
  /// The same as a list, which shares their memory.
  NamedState tensors() const;
  /// Gives it these, and none besides.
  void set_tensors(NamedState tensors);
  /// The state of that name; undefined if it has none.
  const Tensor& state_of(std::string_view name) const;
  /// Drops the state of that use.
  void drop_state(TensorUse use);

  /// Moves all that belongs to it, but for a count.
  void to(Device device);
  /// Sets the mask, which may be on another device, and zeroes what it drops, in the value and in the state
  /// that is not TensorUse::unmasked.
  void set_mask(Tensor kept);
  /// Forgets the mask: the zeros stay, and may be trained again.
  void remove_mask() { mask = Tensor(); }
  /// On Device::meta, which has no values: all of them.
  int64_t nonzeros() const;

 private:
  template <class Self, class Visit>
  static void visit_tensors(Self& self, const Visit& visit) {
    const auto one = [&](std::string_view name, auto& tensor) {
      if (tensor.defined()) visit(name, tensor);
    };
    one("value", self.value());
    one("gradient", self.gradient());
    one("mask", self.mask);
    for (auto& [name, tensor] : self.state) one(name, tensor);
  }
};

/// The device that holds the values of all of them: kernels that pass over many parameters at once run there.
/// Counts, which stay on the host, are not asked. Error where they are on several; the CPU for none.
Device device_of(const std::vector<Parameter*>& parameters);

}  // namespace espalier

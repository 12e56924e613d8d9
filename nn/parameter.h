// Parameter: what a network learns, with everything that belongs to it. Mask and optimizer slots live here so
// that cutting a channel cuts all that goes with it.
#pragma once

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
    flattened,  ///< a linear weight behind a flatten of [H,W,C]: column c HW + hw in the file, hw C + c in
                ///< memory
  };
  Kind kind = same;
  int64_t positions = 1;  ///< HW, for flattened
};

struct Parameter {
  std::string name;  ///< PyTorch's: "fc1.weight"
  Role role = Role::weight;
  Variable variable;
  FileLayout layout = {};
  Tensor mask =
      {};  ///< u8 of 0 and 1, value's shape; undefined: all kept. The value is stored already masked.
  std::vector<Tensor> slots = {};  ///< the optimizer's, value's shape each: momentum, moments
  Tensor average = {};             ///< moving average of the value, if one is kept

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
  /// Moves all that belongs to it, but for a count.
  void to(Device device);
  /// Sets the mask, which may be on another device, and zeroes what it drops, in the value, the slots and the
  /// average.
  void set_mask(Tensor kept);
  /// Forgets the mask: the zeros stay, and may be trained again.
  void remove_mask() { mask = Tensor(); }
  /// On Device::meta, which has no values: all of them.
  int64_t nonzeros() const;
};

/// The device that holds the values of all of them: kernels that pass over many parameters at once run there.
/// Counts, which stay on the host, are not asked. Error where they are on several; the CPU for none.
Device device_of(const std::vector<Parameter*>& parameters);

}  // namespace espalier

// A block of scratch memory, cut into pieces; and, without a block, how large it must be.
#pragma once

#include <cstddef>
#include <cstdint>

namespace espalier::cpu {

/// The same code that cuts a block computes its size: cut from null, then ask for bytes().
class Pieces {
 public:
  explicit Pieces(void* block) : block_(static_cast<char*>(block)) {}

  /// Room for `count` floats, from the start of a cache line on.
  float* take(int64_t count) { return take_bytes(static_cast<size_t>(count) * sizeof(float)); }
  float* take_bytes(size_t count) {
    char* piece = block_ ? block_ + used_ : nullptr;
    used_ += (count + 63) / 64 * 64;
    return reinterpret_cast<float*>(piece);
  }
  size_t bytes() const { return used_; }

 private:
  char* block_;
  size_t used_ = 0;
};

}  // namespace espalier::cpu

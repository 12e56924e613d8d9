// Scratch memory for a kernel, from the caching allocator.
#pragma once

#include "espalier/core/tensor.h"

namespace espalier::ops {

class Scratch {
 public:
  Scratch(size_t bytes, Device device)
      : memory_(bytes ? Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, device) : Tensor()) {}
  void* data() { return memory_.raw(); }

 private:
  Tensor memory_;
};

}  // namespace espalier::ops

// Tests that hold the GPU, or its emulation, to the CPU's numbers.
#pragma once

#include "cuda/card.h"

namespace espalier {

/// On the card, at the CPU's precision.
class OnCuda : public OnCard<> {
 protected:
  void TearDown() override {
    if (cuda::device_count() > 0) cuda::synchronize();
  }

 private:
  const WithPrecision exact_{cuda::Precision::f32};
};

}  // namespace espalier

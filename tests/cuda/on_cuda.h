// Tests that need a GPU, or its emulation: without one they are skipped, and say so.
#pragma once

#include <gtest/gtest.h>

#include "espalier/core/cuda_device.h"

namespace espalier {

class OnCuda : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
    before_ = cuda::precision();
    cuda::set_precision(cuda::Precision::f32);  // as the CPU computes
  }
  void TearDown() override {
    if (cuda::device_count() == 0) return;
    cuda::synchronize();
    cuda::set_precision(before_);
  }

 private:
  cuda::Precision before_ = cuda::Precision::f32;
};

}  // namespace espalier

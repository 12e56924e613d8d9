// What tests that need a card begin with; the others (plans, messages) run anywhere.
#pragma once

#include <gtest/gtest.h>

#include "espalier/core/cuda_device.h"

namespace espalier {

/// A test that runs on the card, or is skipped where there is none.
template <class Base = testing::Test>
class OnCard : public Base {
 protected:
  void SetUp() override {
    if (cuda::device_count() == 0) GTEST_SKIP() << "there is no card";
  }
};

/// Products and convolutions at this precision while it lives.
class WithPrecision {
 public:
  explicit WithPrecision(cuda::Precision precision) { cuda::set_precision(precision); }
  ~WithPrecision() { cuda::set_precision(before_); }
  WithPrecision(const WithPrecision&) = delete;
  WithPrecision& operator=(const WithPrecision&) = delete;

 private:
  cuda::Precision before_ = cuda::precision();
};

inline const char* precision_name(cuda::Precision precision) {
  return precision == cuda::Precision::f32 ? "f32" : precision == cuda::Precision::tf32 ? "tf32" : "bf16";
}

}  // namespace espalier

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/dispatch_test.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

/// What this was compiled for, and how many floats a vector has there.
std::pair<int64_t, size_t> target() {
  return {HWY_TARGET, hwy::HWY_NAMESPACE::Lanes(hwy::HWY_NAMESPACE::ScalableTag<float>())};
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::dispatch_test {
namespace {

TEST(Dispatch, TakesTheVersionForTheSetInForce) {
  const auto [taken, lanes] = ESP_DISPATCH(target)();
  switch (isa()) {
    case Isa::avx512:
      EXPECT_EQ(taken, HWY_AVX3);
      EXPECT_EQ(lanes, 16u);
      break;
    case Isa::avx2:
      EXPECT_EQ(taken, HWY_AVX2);
      EXPECT_EQ(lanes, 8u);
      break;
    case Isa::baseline:
      EXPECT_EQ(taken, HWY_STATIC_TARGET);
  }
}

}  // namespace
}  // namespace espalier::dispatch_test
#endif

#include <gtest/gtest.h>

#include "espalier/core/kernels.h"

namespace espalier::surgery_test {
namespace {

TEST(Take, KeepsTheIndicesOfTheMiddleAxis) {
  const std::vector<float> x{0,  1,  10, 11, 20, 21, 30, 31,  // [2,4,2]
                             40, 41, 50, 51, 60, 61, 70, 71};
  const std::vector<int64_t> kept{0, 2, 3};
  std::vector<float> y(12, -1.0f);
  cpu::take(y.data(), x.data(), kept.data(), {.outer = 2, .axis = 4, .count = 3, .inner = 2 * sizeof(float)});
  EXPECT_EQ(y, (std::vector<float>{0, 1, 20, 21, 30, 31, 40, 41, 60, 61, 70, 71}));
  // The innermost axis, of a mask
  const std::vector<uint8_t> mask{1, 2, 3, 4, 5, 6};  // [2,3,1]
  std::vector<uint8_t> taken(2);
  const std::vector<int64_t> middle{1};
  cpu::take(taken.data(), mask.data(), middle.data(), {.outer = 2, .axis = 3, .count = 1, .inner = 1});
  EXPECT_EQ(taken, (std::vector<uint8_t>{2, 5}));
}

}  // namespace
}  // namespace espalier::surgery_test

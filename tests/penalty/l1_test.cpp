#include "penalty/two_channels.h"

namespace espalier {
namespace {

TEST(L1Penalty, AddsSigns) {
  expect_near(TwoChannels().added({.type = "l1", .weight = 0.1}), {0.1f, -0.1f, -0.1f, 0});
}

}  // namespace
}  // namespace espalier

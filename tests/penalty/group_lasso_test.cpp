#include "penalty/two_channels.h"

namespace espalier {
namespace {

TEST(GroupLassoPenalty, PullsByTheInverseNorm) {
  expect_near(TwoChannels().added({.type = "group_lasso", .weight = 0.1}), {0.06f, -0.1f, -0.08f, 0});
}

}  // namespace
}  // namespace espalier

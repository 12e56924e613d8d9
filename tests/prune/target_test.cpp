#include "espalier/prune/target.h"

#include <gtest/gtest.h>

#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

TEST(CostModel, CountsWhatACutLeaves) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 4), &b = net.conv("b", 4, 2);
  BatchNorm2d& n = net.norm("n", 4);
  net.pass = [&](const Variable& x) { return b.forward(a.forward(x, n, Activation::relu)); };
  const Network network(net, {5, 5, 3});
  const CostModel model(net, network.graph);
  const NetworkCost all = model.after({});
  EXPECT_EQ(all.macs, 25 * 9 * (3 * 4 + 4 * 2));
  EXPECT_EQ(all.parameters, 9 * 12 + 4 + 9 * 8 + 2 + 2 * 4);
  EXPECT_EQ(all.macs, network.totals.macs);
  EXPECT_EQ(all.bytes, network.totals.bytes);
  const auto cuts = cuts_of(channel_graph(net, network.graph).groups, {{1, 0, 0, 1}, {1, 1}});
  const NetworkCost some = model.after(cuts);
  EXPECT_EQ(some.macs, 25 * 9 * (3 * 2 + 2 * 2));
  EXPECT_EQ(some.parameters, 9 * 6 + 2 + 9 * 4 + 2 + 2 * 2);
  cut(net, cuts);
  EXPECT_EQ(Network(net, {5, 5, 3}).totals.bytes, some.bytes);
}

TEST(Target, WhatMakesNoSenseIsRefused) {
  const auto message = [](Target target) { return message_of<UsageError>([&] { check(target); }); };
  EXPECT_EQ(message({Target::ratio, -0.1}), "prune: ratio is -0.1, expected 0..1");
  EXPECT_EQ(message({Target::speedup, 0.5}), "prune: speedup is 0.5, expected at least 1");
  EXPECT_EQ(message({Target::latency_ms, 0}), "prune: latency_ms is 0, expected more than 0");
  check(Target{Target::bytes, 1});
}

}  // namespace
}  // namespace espalier

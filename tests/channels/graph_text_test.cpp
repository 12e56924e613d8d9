#include "espalier/channels/graph_text.h"

#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "espalier/nn/network.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

TEST(GraphText, CountsRealChannels) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 6), &b = net.conv("b", 6, 4, 2), &c = net.conv("c", 4, 5);
  net.pass = [&](const Variable& x) { return c.forward(b.forward(a.forward(x))); };
  const Network network(net, {5, 5, 3});
  // 3x3 kernels. Two filters of a, each of 27 weights and a bias, and the one input of each of b's 4 filters
  // that reads them; two filters of b, of 3 inputs, and two columns of c.
  EXPECT_EQ(graph_text(channel_graph(net, network.graph)),
            R"(group 1: 6 channels that go 2 at a time, 92 weights
  made by  a
  read by  b
group 2: 4 channels that go 2 at a time, 146 weights
  made by  b
  read by  c
group 3: 5 channels, the network's output: they stay
  made by  c
)");
  EXPECT_EQ(graph_text(channel_graph(net, network.graph), 40),
            R"(group 1: 6 channels that go 2 at a time,
92 weights
  made by  a
  read by  b
group 2: 4 channels that go 2 at a time,
146 weights
  made by  b
  read by  c
group 3: 5 channels, the network's
output: they stay
  made by  c
)");
}

TEST(GraphText, BreaksItsLinesBetweenNames) {
  SmallNet net;
  Conv2d &first = net.conv("a_layer_of_many_letters", 3, 6), &second = net.conv("b", 3, 6);
  Conv2d& reader = net.conv("c", 6, 5);
  net.pass = [&](const Variable& x) { return reader.forward(ops::add(first.forward(x), second.forward(x))); };
  const Network network(net, {5, 5, 3});
  EXPECT_TRUE(graph_text(channel_graph(net, network.graph), 35)
                  .starts_with("group 1: 6 channels, 101 weights\n"
                               "each\n"
                               "  made by  b\n"
                               "           a_layer_of_many_letters\n"
                               "  read by  c\n"));
}

}  // namespace
}  // namespace espalier

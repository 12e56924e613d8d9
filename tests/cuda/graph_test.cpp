// Work that is captured and done later, as often as one likes.
#include <vector>

#include "cuda/card.h"
#include "cuda/support.h"
#include "support/bad_input.h"

namespace espalier::cuda::graph_test {
namespace {

using CudaGraph = OnCard<>;

TEST_F(CudaGraph, IsDoneWhenItIsLaunchedAndEachTime) {
  const OnDevice<float> y(Floats{1, 2, 3}), x(Floats{10, 20, 30});
  Graph graph([&] {
    EXPECT_TRUE(Graph::capturing());
    add(y, y, x, 3);
    scale(y, y, 2, 3, false);
  });
  EXPECT_FALSE(Graph::capturing());
  EXPECT_EQ(graph.size(), 2);
  EXPECT_EQ(y.host(), (Floats{1, 2, 3}));
  graph.launch();
  EXPECT_EQ(y.host(), (Floats{22, 44, 66}));
  graph.launch();
  graph.launch();
  EXPECT_EQ(y.host(), (Floats{148, 296, 444}));
}

TEST_F(CudaGraph, ReadsWhatItsMemoryHoldsThen) {
  const OnDevice<float> y(3);
  OnDevice<float> x(Floats{1, 2, 3});
  Graph graph([&] { scale(y, x, 2, 3, false); });
  graph.launch();
  const Floats others{4, 5, 6};
  upload(x, others.data(), 3 * sizeof(float));
  graph.launch();
  EXPECT_EQ(y.host(), (Floats{8, 10, 12}));
}

TEST_F(CudaGraph, HoldsNoCopiesWaitsForNothingAndTheCardGoesOn) {
  const OnDevice<float> y(Floats{1, 2, 3});
  Floats host(3);
  EXPECT_TRUE(contains(message_of([&] { Graph graph([&] { upload(y, host.data(), 12); }); }),
                       "cuda: a graph cannot hold a copy of what the host has now"));
  EXPECT_THROW(Graph graph([&] { y.host(); }), DeviceError);
  EXPECT_THROW(Graph graph([&] { synchronize(); }), DeviceError);
  EXPECT_TRUE(contains(message_of([&] { Graph graph([&] { allocate(size_t{1} << 40); }); }),
                       "cuda: a graph wants 1099511627776 bytes of the driver"));
  EXPECT_FALSE(Graph::capturing());
  scale(y, y, 2, 3, false);
  EXPECT_EQ(y.host(), (Floats{2, 4, 6}));
}

}  // namespace
}  // namespace espalier::cuda::graph_test

#include "espalier/graph/kernels.h"

#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "espalier/graph/trace.h"

namespace espalier {
namespace {

using Names = std::vector<std::string>;

/// What each op of that name runs; all of it is run.
std::vector<Names> kernels_of(const Graph& graph, const std::string& op, bool training) {
  std::vector<Names> all;
  for_each_kernel(graph, {.batch = 2, .training = training},
                  [&](const GraphNode& node, const std::vector<KernelCall>& calls) {
                    if (node.op != op) return;
                    Names& names = all.emplace_back();
                    for (const KernelCall& call : calls) {
                      EXPECT_GT(call.bytes, 0);
                      call.call();
                      names.push_back(call.kernel);
                    }
                  });
  return all;
}

TEST(Kernels, OfSumsAndProductsBesidePixels) {
  const Variable image(Tensor::zeros({1, 4, 4, 3})), w(Tensor::zeros({6, 1, 1, 3}), true, "conv.weight"),
      s(Tensor::zeros({6}), true, "scale.weight");
  const Trace trace;
  const Variable y = ops::conv2d(image, w, {}), gate = ops::global_average_pool(y);
  Variable z = ops::add(ops::mul(y, gate), gate);
  z = ops::add(ops::mul(z, s), s);
  ops::add(ops::mul(z, z), z);
  EXPECT_EQ(kernels_of(trace.graph, "mul", true),
            (std::vector<Names>{{"mul_pixels", "mul_pixels", "sum_pixels"},
                                {"scale_shift_forward", "batch_norm_backward"},
                                {"mul", "mul", "mul"}}));
  EXPECT_EQ(
      kernels_of(trace.graph, "add", true),
      (std::vector<Names>{
          {"add_to_pixels", "sum_pixels"}, {"scale_shift_forward", "activation_bias_backward"}, {"add"}}));
  EXPECT_EQ(kernels_of(trace.graph, "mul", false),
            (std::vector<Names>{{"mul_pixels"}, {"scale_shift_forward"}, {"mul"}}));
}

}  // namespace
}  // namespace espalier

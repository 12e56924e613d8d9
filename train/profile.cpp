#include "espalier/train/profile.h"

#include <fmt/format.h>

#include "espalier/core/measure.h"
#include "espalier/core/table.h"
#include "espalier/graph/kernels.h"
#include "espalier/nn/network.h"

namespace espalier {
namespace {

KernelTime timed(const KernelCall& call, const std::string& layer, double limit_ms) {
  return {layer, call.kernel, call.algorithm, best_ms(call.call, limit_ms), call.macs, call.bytes};
}

}  // namespace

Profile profile(Module& model, const Shape& input, int64_t batch, bool training, double kernel_ms) {
  const Network network(model, input);
  Profile result{.kernels = {},
                 .peak_gflops = peak_gflops(8 * kernel_ms),
                 .peak_gigabytes = peak_gigabytes(8 * kernel_ms)};
  const Pass pass{.batch = batch, .training = training};
  for_each_kernel(network.graph, pass, [&](const GraphNode& node, const std::vector<KernelCall>& calls) {
    for (const KernelCall& call : calls)
      result.kernels.push_back(timed(call, network.graph.layer_of(node), kernel_ms));
  });
  return result;
}

std::string profile_table(const Profile& profile, double batch_ms, size_t width) {
  Table table({"<layer", "<kernel", "<by", "ms", "speed", "<", "of peak"});
  double sum = 0;
  for (const KernelTime& k : profile.kernels) {
    const bool computes = k.macs > 0;
    const double speed = computes ? k.gflops() : k.gigabytes(),
                 peak = computes ? profile.peak_gflops : profile.peak_gigabytes;
    table.add({k.layer, k.kernel, k.algorithm, fmt::format("{:.4f}", k.milliseconds),
               fmt::format("{:.1f}", speed), computes ? "GFLOP/s" : "GB/s",
               fmt::format("{:.0f} %", 100 * speed / peak)});
    sum += k.milliseconds;
  }
  return table.str(width) +
         fmt::format(
             "these kernels: {:.4g} ms by themselves, a whole batch: {:.4g} ms\n"
             "peak: {:.0f} GFLOP/s in a large matrix product, {:.1f} GB/s in a copy of what no cache holds "
             "(from a cache a kernel may be faster)\n",
             sum, batch_ms, profile.peak_gflops, profile.peak_gigabytes);
}

}  // namespace espalier

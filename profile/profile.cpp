#include "espalier/profile/profile.h"

#include <fmt/format.h>

#include <algorithm>

#include "espalier/core/measure.h"
#include "espalier/graph/kernels.h"
#include "espalier/nn/network.h"
#include "espalier/profile/measure_card.h"
#include "espalier/util/table.h"

namespace espalier {
namespace {

KernelTime timed(const KernelCall& call, const std::string& layer, Device device, double limit_ms) {
  const double ms = device == Device::cuda ? card_ms(call.call, limit_ms) : best_ms(call.call, limit_ms);
  return {layer, call.kernel, call.algorithm, ms, call.macs, call.bytes};
}

}  // namespace

double Profile::floor_ms(const KernelTime& kernel) const {
  return 1e-6 * std::max(2 * static_cast<double>(kernel.macs) / peak_gflops,
                         static_cast<double>(kernel.bytes) / peak_gigabytes);
}

Profile profile(Module& model, const Shape& input, int64_t batch, bool training, double kernel_ms) {
  const Network network(model, input);
  const Device device = device_of(model.parameters());
  const bool on_card = device == Device::cuda;
  Profile result{.kernels = {},
                 .peak_gflops = (on_card ? card_gflops : peak_gflops)(8 * kernel_ms),
                 .peak_gigabytes = (on_card ? card_gigabytes : peak_gigabytes)(8 * kernel_ms)};
  const Pass pass{.batch = batch, .training = training, .device = device};
  for_each_kernel(network.graph, pass, [&](const GraphNode& node, const std::vector<KernelCall>& calls) {
    for (const KernelCall& call : calls)
      result.kernels.push_back(timed(call, network.graph.layer_of(node), device, kernel_ms));
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

nlohmann::ordered_json to_json(const Profile& profile) {
  auto kernels = nlohmann::ordered_json::array();
  for (const KernelTime& k : profile.kernels)
    kernels.push_back({{"layer", k.layer},
                       {"kernel", k.kernel},
                       {"algorithm", k.algorithm},
                       {"milliseconds", k.milliseconds},
                       {"floor_milliseconds", profile.floor_ms(k)},
                       {"macs", k.macs},
                       {"bytes", k.bytes}});
  return {
      {"kernels", kernels}, {"peak_gflops", profile.peak_gflops}, {"peak_gigabytes", profile.peak_gigabytes}};
}

}  // namespace espalier

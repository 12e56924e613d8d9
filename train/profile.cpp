#include "espalier/train/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "espalier/core/measure.h"
#include "espalier/core/table.h"
#include "espalier/nn/network.h"
#include "espalier/train/profile_kernels.h"

namespace espalier {
namespace {

KernelTime timed(const KernelCall& call, const std::string& layer, double limit_ms) {
  return {layer, call.kernel, call.algorithm, best_ms(call.call, limit_ms), call.macs, call.bytes};
}

}  // namespace

Profile profile(Module& model, const Shape& input, int64_t batch, bool training, double kernel_ms) {
  const Network network(model, input);
  const Tape& tape = network.tape;
  Profile result{.kernels = {},
                 .peak_gflops = peak_gflops(8 * kernel_ms),
                 .peak_gigabytes = peak_gigabytes(8 * kernel_ms)};
  std::set<int> learned;  // values that a gradient flows into
  for (size_t i = 0; i < tape.values.size(); ++i)
    if (!tape.values[i].parameter.empty()) learned.insert(static_cast<int>(i));
  for (const TapeEntry& entry : tape.entries) {
    OpContext op{tape, entry, batch, training, {}};
    for (const int value : entry.inputs) op.gradients.push_back(training && learned.contains(value));
    for (const KernelCall& call : kernels_of(op))
      result.kernels.push_back(timed(call, layer_of(entry, tape), kernel_ms));
    if (std::ranges::any_of(entry.inputs, [&](int value) { return learned.contains(value); }))
      learned.insert(entry.output);
  }
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

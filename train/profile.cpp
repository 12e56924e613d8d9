#include "espalier/train/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <set>

#include "espalier/core/cpu/conv.h"
#include "espalier/core/kernels.h"
#include "espalier/core/random.h"
#include "espalier/core/table.h"
#include "espalier/nn/network.h"

namespace espalier {
namespace {

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// The best of as many calls as fit in `limit_ms`, at least 3: what other programs take is not the kernel's.
double best_ms(const std::function<void()>& call, double limit_ms) {
  double best = std::numeric_limits<double>::infinity();
  int calls = 0;
  for (const auto start = Clock::now(); calls < 3 || ms_since(start) < limit_ms; ++calls) {
    const auto before = Clock::now();
    call();
    best = std::min(best, ms_since(before));
  }
  return best;
}

Tensor random_tensor(const Shape& shape, uint64_t key) {
  Tensor tensor = Tensor::empty(shape);
  uint64_t i = 0;
  for (float& value : tensor.span<float>()) value = random_uniform(key, i++) - 0.5f;
  return tensor;
}

Tensor bytes(size_t count) { return Tensor::empty({static_cast<int64_t>(count)}, DType::u8); }

/// An op's operands, and its three directions as kernels on them.
struct Operands {
  Tensor x, w, y;
  Tensor dx = Tensor::empty(x.shape()), dw = Tensor::empty(w.shape());
};

#define ESP_TIME(kernel, scratch_arguments, ...) \
  {                                              \
#kernel, [&] { \
     Tensor scratch = bytes(cpu::kernel##_scratch scratch_arguments); \
     return best_ms([&] { cpu::kernel(__VA_ARGS__, scratch.raw()); }, 60); \
   }                                 \
  }

using Kernels = std::vector<std::pair<std::string, std::function<double()>>>;

int64_t attribute(const TapeEntry& entry, const std::string& name) {
  for (const auto& [key, value] : entry.attributes)
    if (key == name) return std::get<int64_t>(value);
  fail("profile: ", entry.op, " has no attribute '", name, "'");
}

/// Forward, backward weights and backward data of a tape's op, timed when called.
std::vector<KernelTime> time_op(const TapeEntry& entry, const Tape& tape, int64_t batch, bool weights,
                                bool data) {
  const Shape in = tape.values[entry.inputs[0]].shape.with(0, batch);
  const Shape out = tape.values[entry.output].shape.with(0, batch);
  Operands o{random_tensor(in, 1), random_tensor(tape.values[entry.inputs[1]].shape, 2),
             random_tensor(out, 3)};
  const Shape& w = o.w.shape();
  Kernels kernels;
  LinearShape linear{};
  ConvShape conv{};
  if (entry.op == "linear") {
    linear = {batch, in[1], out[1]};
    kernels = {
        ESP_TIME(linear_forward, (linear, false), o.y.f32(), o.x.f32(), o.w.f32(), nullptr, nullptr,
                 Activation::none, linear),
        ESP_TIME(linear_backward_weights, (linear, false), o.dw.f32(), o.y.f32(), o.x.f32(), linear, false),
        ESP_TIME(linear_backward_data, (linear, false), o.dx.f32(), o.y.f32(), o.w.f32(), linear, false)};
  } else {
    conv = {batch,
            in[1],
            in[2],
            in[3],
            w[0],
            w[1],
            w[2],
            attribute(entry, "stride"),
            attribute(entry, "pad"),
            attribute(entry, "groups")};
    kernels = {
        ESP_TIME(conv2d_forward, (conv, {}), o.y.f32(), o.x.f32(), o.w.f32(), nullptr, ConvEpilogue{}, conv),
        ESP_TIME(conv2d_backward_weights, (conv, false), o.dw.f32(), o.y.f32(), o.x.f32(), conv, false),
        ESP_TIME(conv2d_backward_data, (conv, false), o.dx.f32(), o.y.f32(), o.w.f32(), conv, false)};
  }
  kernels.resize(data ? 3 : weights ? 2 : 1);

  const std::string& parameter = tape.values[entry.inputs[1]].parameter;
  std::vector<KernelTime> times;
  for (const auto& [name, time] : kernels)
    times.push_back({parameter.substr(0, parameter.rfind('.')), name,
                     entry.op == "conv2d" ? cpu::conv2d_algorithm(conv) : "", time(),
                     macs_of(entry, tape) * batch});
  return times;
}

double measure_peak() {
  constexpr int64_t n = 768;
  const LinearShape s{n, n, n};
  const Tensor x = random_tensor({n, n}, 1), w = random_tensor({n, n}, 2);
  Tensor y = Tensor::empty({n, n}), scratch = bytes(cpu::linear_forward_scratch(s, false));
  const double ms = best_ms(
      [&] {
        cpu::linear_forward(y.f32(), x.f32(), w.f32(), nullptr, nullptr, Activation::none, s, scratch.raw());
      },
      500);
  return 2e-6 * static_cast<double>(n * n * n) / ms;
}

}  // namespace

Profile profile(Module& model, const Shape& input, int64_t batch, bool training) {
  const Network network(model, input);
  Profile result{.kernels = {}, .peak_gflops = measure_peak()};
  std::set<int> learned;  // values that a gradient flows into
  for (size_t i = 0; i < network.tape.values.size(); ++i)
    if (!network.tape.values[i].parameter.empty()) learned.insert(static_cast<int>(i));
  for (const TapeEntry& entry : network.tape.entries) {
    const auto is_learned = [&](int value) { return learned.contains(value); };
    if (macs_of(entry, network.tape) > 0)
      for (KernelTime& time :
           time_op(entry, network.tape, batch, training, training && is_learned(entry.inputs[0])))
        result.kernels.push_back(std::move(time));
    if (std::ranges::any_of(entry.inputs, is_learned)) learned.insert(entry.output);
  }
  return result;
}

std::string profile_table(const Profile& profile, double batch_ms) {
  Table table({"<layer", "<kernel", "<by", "ms", "GFLOP/s", "of peak"});
  double sum = 0;
  for (const KernelTime& k : profile.kernels) {
    table.add({k.layer, k.kernel, k.algorithm, fmt::format("{:.4f}", k.milliseconds),
               fmt::format("{:.1f}", k.gflops()),
               fmt::format("{:.0f} %", 100 * k.gflops() / profile.peak_gflops)});
    sum += k.milliseconds;
  }
  return table.str() +
         fmt::format(
             "these kernels: {:.4g} ms by themselves, a whole batch: {:.4g} ms; peak: {:.0f} GFLOP/s\n", sum,
             batch_ms, profile.peak_gflops);
}

}  // namespace espalier

#include "espalier/core/measure.h"

#include <algorithm>
#include <limits>

#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"
#include "espalier/core/random.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/measure.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/simd-inl.h"
#include "espalier/util/stopwatch.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

/// y = x, `lines` of 16 floats each, aligned; y is written past the caches: nothing of it is read first.
void stream(float* y, const float* x, int64_t lines) {
  parallel_for(lines, 4096, [=](int64_t begin, int64_t end) HWY_ATTR {
    const auto lanes = static_cast<int64_t>(hn::Lanes(Floats()));
    for (int64_t i = 16 * begin; i < 16 * end; i += lanes)
      hn::Stream(hn::Load(Floats(), x + i), Floats(), y + i);
    hwy::FlushStream();
  });
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier {

Tensor random_operand(const Shape& shape, uint64_t key) {
  Tensor tensor = Tensor::empty(shape);
  uint64_t i = 0;
  for (float& value : tensor.span<float>()) value = random_uniform(key, i++) - 0.5f;
  return tensor;
}

double undisturbed(std::vector<double> times) {
  const auto at = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 10);
  std::nth_element(times.begin(), at, times.end());
  return *at;
}

namespace {

/// Undisturbed, of a batch of runs; adds what they took to `spent`. The first run is not counted: it finds
/// the other's numbers in the caches.
double batch_ms(const std::function<double()>& run, double& spent) {
  constexpr double batch = 5, most_runs = 50;
  const double first = run();
  spent += first;
  const double runs = std::clamp(batch / first, 1.0, most_runs);
  std::vector<double> times;
  for (double done = 0; done < runs; ++done) {
    times.push_back(run());
    spent += times.back();
  }
  return undisturbed(std::move(times));
}

}  // namespace

PairedTimes paired(const std::function<double()>& first, const std::function<double()>& second,
                   double limit_ms) {
  constexpr size_t least_rounds = 5, most_rounds = 21;
  std::vector<PairedTimes> rounds;
  first();  // what happens once: memory, the choice of kernels
  second();
  for (double spent = 0; rounds.size() < least_rounds || (rounds.size() < most_rounds && spent < limit_ms);) {
    const double one = batch_ms(first, spent);
    rounds.push_back({one, batch_ms(second, spent)});
  }
  std::ranges::sort(rounds, {}, [](const PairedTimes& round) { return round.first + round.second; });
  rounds.resize((rounds.size() + 2) / 3 | 1);  // an odd number has one in the middle
  const auto median = rounds.begin() + static_cast<std::ptrdiff_t>(rounds.size() / 2);
  std::ranges::nth_element(rounds, median, {}, &PairedTimes::speedup);
  return *median;
}

std::vector<double> race(const std::vector<std::function<void()>>& calls, double limit_ms) {
  std::vector<double> best(calls.size(), std::numeric_limits<double>::infinity());
  const double limit = limit_ms * static_cast<double>(calls.size());
  const Stopwatch watch;
  for (int turn = 0; turn < 3 || watch.milliseconds() < limit; ++turn)
    for (size_t i = 0; i < calls.size(); ++i) {
      const Stopwatch call;
      calls[i]();
      best[i] = std::min(best[i], call.milliseconds());
    }
  return best;
}

double best_ms(const std::function<void()>& call, double limit_ms) { return race({call}, limit_ms)[0]; }

double peak_gflops(double limit_ms) {
  constexpr int64_t n = 768;
  const LinearShape s{n, n, n};
  const Tensor x = random_operand({n, n}, 1), w = random_operand({n, n}, 2);
  Tensor y = Tensor::empty({n, n});
  Tensor scratch = Tensor::empty({static_cast<int64_t>(cpu::linear_forward_scratch(s, false))}, DType::u8);
  const auto product = [&] {
    cpu::linear_forward(y.f32(), x.f32(), w.f32(), nullptr, nullptr, Activation::none, s, scratch.raw());
  };
  return 2e-6 * static_cast<double>(n * n * n) / best_ms(product, limit_ms);
}

double peak_gigabytes(double limit_ms) {
  constexpr int64_t lines = 1 << 21;  // 128 MiB on either side
  const Tensor x = Tensor::zeros({16 * lines});
  Tensor y = Tensor::empty(x.shape());
  const double ms = best_ms([&] { ESP_DISPATCH(stream)(y.f32(), x.f32(), lines); }, limit_ms);
  return 2e-6 * static_cast<double>(x.bytes()) / ms;
}

}  // namespace espalier
#endif

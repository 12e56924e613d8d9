#include "espalier/profile/measure_card.h"

#include "espalier/core/cuda_device.h"
#include "espalier/core/kernels.h"
#include "espalier/core/measure.h"
#include "espalier/util/error.h"

namespace espalier {

#ifdef ESPALIER_CUDA

namespace {

/// What `rate` says of the largest size, of those that double from `min_size` to `max_size`, that is reached
/// before one call takes too long; it also sets the milliseconds of one.
template <class Rate>
double rate_of_largest(int64_t min_size, int64_t max_size, double limit_ms, const Rate& rate) {
  double last = 0, ms = 0;
  for (int64_t size = min_size; size <= max_size && ms < limit_ms / 50; size *= 2) last = rate(size, ms);
  return last;
}

}  // namespace

double card_ms(const std::function<void()>& call, double limit_ms) {
  constexpr int calls = 20;
  call();  // what happens once: plans are made, code goes to the card
  cuda::synchronize();
  cuda::Graph many([&] {
    for (int i = 0; i < calls; ++i) call();
  });
  const auto run = [&] {
    many.launch();
    cuda::synchronize();
  };
  run();  // a graph's first launch sends it there
  return best_ms(run, limit_ms) / calls;
}

double card_gflops(double limit_ms) {
  return rate_of_largest(128, 8192, limit_ms, [&](int64_t n, double& ms) {
    const LinearShape s{n, n, n};
    const Tensor x = random_operand({n, n}, 1).to(Device::cuda),
                 w = random_operand({n, n}, 2).to(Device::cuda);
    Tensor y = Tensor::empty({n, n}, DType::f32, Device::cuda);
    Tensor scratch = Tensor::empty({static_cast<int64_t>(cuda::linear_forward_scratch(s, false))}, DType::u8,
                                   Device::cuda);
    ms = card_ms(
        [&] {
          cuda::linear_forward(y.f32(), x.f32(), w.f32(), nullptr, nullptr, Activation::none, s,
                               scratch.raw());
        },
        limit_ms / 8);
    const auto size = static_cast<double>(n);
    return 2e-6 * size * size * size / ms;
  });
}

double card_gigabytes(double limit_ms) {
  constexpr int64_t mebibyte = 1 << 20;
  return rate_of_largest(mebibyte, 512 * mebibyte, limit_ms, [&](int64_t bytes, double& ms) {
    const Tensor x = Tensor::empty({bytes}, DType::u8, Device::cuda);
    Tensor y = Tensor::empty({bytes}, DType::u8, Device::cuda);
    ms = card_ms([&] { cuda::copy_bytes(y.raw(), x.raw(), static_cast<size_t>(bytes)); }, limit_ms / 8);
    return 2e-6 * static_cast<double>(bytes) / ms;
  });
}

#else

double card_ms(const std::function<void()>&, double) { fail("card_ms: this build has no CUDA"); }
double card_gflops(double) { fail("card_gflops: this build has no CUDA"); }
double card_gigabytes(double) { fail("card_gigabytes: this build has no CUDA"); }

#endif

}  // namespace espalier

// Activations and their gradients, and the pass after a layer with a bias: gradient of the activation and of
// the bias at once.
#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/activation.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/activation-inl.h"
#include "espalier/core/cpu/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

constexpr int64_t grain = 8192;

void activation_forward(float* y, const float* x, Activation activation, int64_t n) {
  with(activation, [=](auto f) {
    parallel_for(n, grain, [=](int64_t begin, int64_t end) {
      for_vectors(begin, end, [=](auto tail, int64_t i) {
        store(tail, apply<decltype(f)::value>(load(tail, x + i, end - i)), y + i, end - i);
      });
    });
  });
}

void activation_backward(float* dx, const float* dy, const float* saved, Activation activation, int64_t n,
                         bool accumulate) {
  with(activation, [=](auto f) {
    parallel_for(n, grain, [=](int64_t begin, int64_t end) {
      for_vectors(begin, end, [=](auto tail, int64_t i) {
        const auto at = f == Activation::none ? hn::Zero(Floats()) : load(tail, saved + i, end - i);
        put(tail, derive<decltype(f)::value>(load(tail, dy + i, end - i), at), dx + i, end - i, accumulate);
      });
    });
  });
}

void activation_bias_backward(float* dx, float* db, const float* dy, const float* saved,
                              Activation activation, int64_t rows, int64_t cols, bool accumulate_db,
                              void* scratch) {
  auto* partial = static_cast<float*>(scratch);  // [parts, cols]
  const int parts = parts_for(rows, std::max<int64_t>(1, grain / cols));
  with(activation, [=](auto f) {
    parallel_parts(parts, [=](int part) {
      const Range range = part_of(rows, part, parts);
      float* sums = partial + part * cols;
      std::fill(sums, sums + cols, 0.0f);
      for (int64_t row = range.begin; row < range.end; ++row) {
        const int64_t at = row * cols;
        for_vectors(0, cols, [=](auto tail, int64_t i) {
          auto gradient = load(tail, dy + at + i, cols - i);
          if constexpr (decltype(f)::value != Activation::none) {
            gradient = derive<decltype(f)::value>(gradient, load(tail, saved + at + i, cols - i));
            store(tail, gradient, dx + at + i, cols - i);
          }
          put(tail, gradient, sums + i, cols - i, true);
        });
      }
    });
  });
  for (int part = 0; part < parts; ++part)
    for_vectors(0, cols, [=](auto tail, int64_t i) {
      put(tail, load(tail, partial + part * cols + i, cols - i), db + i, cols - i, part > 0 || accumulate_db);
    });
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

void activation_forward(float* y, const float* x, Activation f, int64_t n) {
  ESP_DISPATCH(activation_forward)(y, x, f, n);
}
void activation_backward(float* dx, const float* dy, const float* saved, Activation f, int64_t n,
                         bool accumulate) {
  ESP_DISPATCH(activation_backward)(dx, dy, saved, f, n, accumulate);
}
void activation_bias_backward(float* dx, float* db, const float* dy, const float* saved, Activation f,
                              int64_t rows, int64_t cols, bool accumulate_db, void* scratch) {
  ESP_DISPATCH(activation_bias_backward)(dx, db, dy, saved, f, rows, cols, accumulate_db, scratch);
}

}  // namespace espalier::cpu
#endif

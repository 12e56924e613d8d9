// What a convolution still does to its output while it is in registers (kernels.h: ConvEpilogue). Included
// once per instruction set.
#if defined(ESPALIER_CORE_CPU_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ESPALIER_CORE_CPU_EPILOGUE_INL_H_
#undef ESPALIER_CORE_CPU_EPILOGUE_INL_H_
#else
#define ESPALIER_CORE_CPU_EPILOGUE_INL_H_
#endif

#include "espalier/core/cpu/activation-inl.h"
#include "espalier/core/cpu/simd-inl.h"
#include "espalier/core/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

/// True of activations that a few instructions make; others are a pass of their own afterwards.
inline bool in_registers(Activation f) {
  return f == Activation::relu || f == Activation::relu6 || f == Activation::hard_swish;
}
/// True if outputs are stored as they are.
inline bool plain(const ConvEpilogue& e) {
  return !e.scale && !e.shift && !e.residual && !in_registers(e.f) && !e.statistics.mean;
}
inline void run_other_activation(float* y, const ConvEpilogue& e, int64_t n) {
  if (e.f != Activation::none && !in_registers(e.f)) cpu::activation_forward(y, y, e.f, n);
}

/// Sums of y - center and of its square, [2,O] a block of pixels: in single precision within a block, in
/// double over all of them.
class BlockSums {
 public:
  BlockSums(float* memory, int64_t channels) : memory_(memory), channels_(channels) {}
  static int64_t floats(int64_t blocks, int64_t channels) { return 2 * blocks * channels; }

  float* sum(int64_t block) const { return memory_ ? memory_ + 2 * block * channels_ : nullptr; }
  void clear(int64_t blocks) const {
    if (memory_) cpu::set_bytes(memory_, 0, static_cast<size_t>(floats(blocks, channels_)) * sizeof(float));
  }
  /// mean = center + S / n, variance = Q / n - (S / n)^2, of S and Q over all blocks.
  void merge(const ChannelStatistics& to, int64_t blocks, int64_t pixels) const {
    if (!memory_) return;
    const double n = static_cast<double>(pixels);
    for (int64_t k = 0; k < channels_; ++k) {
      double s = 0, q = 0;
      for (int64_t b = 0; b < blocks; ++b) {
        s += static_cast<double>(sum(b)[k]);
        q += static_cast<double>(sum(b)[channels_ + k]);
      }
      to.mean[k] = static_cast<float>((to.center ? static_cast<double>(to.center[k]) : 0.0) + s / n);
      to.variance[k] = static_cast<float>(std::max(0.0, q / n - s / n * (s / n)));
    }
  }

 private:
  float* memory_;
  int64_t channels_;
};

/// One vector of channels, from k on, of the outputs of a block.
template <bool is_plain, class Tail>
struct OutputChannels {
  HWY_INLINE OutputChannels(const ConvEpilogue& e_, int64_t k_, int64_t left_) : e(e_), k(k_), left(left_) {
    const Floats d;
    if constexpr (!is_plain) {
      scale = e.scale ? load(Tail(), e.scale + k, left) : hn::Set(d, 1.0f);
      shift = e.shift ? load(Tail(), e.shift + k, left) : hn::Zero(d);
      center = e.statistics.center ? load(Tail(), e.statistics.center + k, left) : hn::Zero(d);
      sum = square = hn::Zero(d);
    }
  }
  /// y[place ..] = f(v scale + shift + residual)
  HWY_INLINE void put(FloatVector v, float* y, int64_t place) {
    if constexpr (!is_plain) {
      v = hn::MulAdd(v, scale, shift);
      if (e.residual) v = hn::Add(v, load(Tail(), e.residual + place, left));
      if (e.f == Activation::relu)
        v = apply<Activation::relu>(v);
      else if (e.f == Activation::relu6)
        v = apply<Activation::relu6>(v);
      else if (e.f == Activation::hard_swish)
        v = apply<Activation::hard_swish>(v);
      if (e.statistics.mean) count(v);
    }
    store(Tail(), v, y + place, left);
  }
  /// Takes an output into the statistics.
  HWY_INLINE void count(FloatVector v) {
    const auto departure = hn::Sub(v, center);
    sum = hn::Add(sum, departure);
    square = hn::MulAdd(departure, departure, square);
  }
  /// Adds the sums to those of the block: BlockSums::sum.
  HWY_INLINE void finish(float* sums, int64_t channels) const {
    if constexpr (!is_plain) {
      if (!sums) return;
      espalier::HWY_NAMESPACE::put(Tail(), sum, sums + k, left, true);
      espalier::HWY_NAMESPACE::put(Tail(), square, sums + channels + k, left, true);
    }
  }

  const ConvEpilogue& e;
  int64_t k, left;
  FloatVector scale, shift, center, sum, square;
};

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

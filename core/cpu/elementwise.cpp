// Memory and elementwise kernels: memory speed.
#include <algorithm>
#include <cstring>

#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

constexpr int64_t grain = 8192;  // elements a thread should have before a second one is worth waking

void fill(float* y, float value, int64_t n) {
  parallel_for(n, grain, [=](int64_t begin, int64_t end) {
    for_vectors(begin, end,
                [=](auto tail, int64_t i) { store(tail, hn::Set(Floats(), value), y + i, end - i); });
  });
}

void add(float* y, const float* a, const float* b, int64_t n) {
  parallel_for(n, grain, [=](int64_t begin, int64_t end) {
    for_vectors(begin, end, [=](auto tail, int64_t i) {
      store(tail, hn::Add(load(tail, a + i, end - i), load(tail, b + i, end - i)), y + i, end - i);
    });
  });
}

void mul(float* y, const float* a, const float* b, int64_t n, bool accumulate) {
  parallel_for(n, grain, [=](int64_t begin, int64_t end) {
    for_vectors(begin, end, [=](auto tail, int64_t i) {
      put(tail, hn::Mul(load(tail, a + i, end - i), load(tail, b + i, end - i)), y + i, end - i, accumulate);
    });
  });
}

void scale(float* y, const float* x, float factor, int64_t n, bool accumulate) {
  parallel_for(n, grain, [=](int64_t begin, int64_t end) {
    const auto times = hn::Set(Floats(), factor);
    for_vectors(begin, end, [=](auto tail, int64_t i) {
      put(tail, hn::Mul(load(tail, x + i, end - i), times), y + i, end - i, accumulate);
    });
  });
}

void broadcast(float* y, const float* scalar, float times, int64_t n, bool accumulate) {
  const float value = *scalar * times;
  parallel_for(n, grain, [=](int64_t begin, int64_t end) {
    for_vectors(begin, end, [=](auto tail, int64_t i) {
      put(tail, hn::Set(Floats(), value), y + i, end - i, accumulate);
    });
  });
}

void copy_columns(float* y, int64_t y_width, const float* x, int64_t x_width, int64_t columns, int64_t rows,
                  bool accumulate) {
  parallel_for(rows, grain / std::max<int64_t>(columns, 1), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* to = y + row * y_width;
      const float* from = x + row * x_width;
      for_vectors(0, columns, [=](auto tail, int64_t i) {
        put(tail, load(tail, from + i, columns - i), to + i, columns - i, accumulate);
      });
    }
  });
}

void clip_forward(float* y, const float* x, float low, float high, int64_t n) {
  parallel_for(n, grain, [=](int64_t begin, int64_t end) {
    const auto min_value = hn::Set(Floats(), low), max_value = hn::Set(Floats(), high);
    for_vectors(begin, end, [=](auto tail, int64_t i) {
      const auto v = load(tail, x + i, end - i);
      const auto raised = hn::IfThenElse(hn::Lt(v, min_value), min_value, v);
      store(tail, hn::IfThenElse(hn::Gt(raised, max_value), max_value, raised), y + i, end - i);
    });
  });
}

void clip_backward(float* dx, const float* dy, const float* x, float low, float high, int64_t n,
                   bool accumulate) {
  parallel_for(n, grain, [=](int64_t begin, int64_t end) {
    const auto min_value = hn::Set(Floats(), low), max_value = hn::Set(Floats(), high);
    for_vectors(begin, end, [=](auto tail, int64_t i) {
      const auto v = load(tail, x + i, end - i);
      const auto inside = hn::And(hn::Ge(v, min_value), hn::Le(v, max_value));
      put(tail, hn::IfThenElseZero(inside, load(tail, dy + i, end - i)), dx + i, end - i, accumulate);
    });
  });
}

/// 32 well-mixed bits for each counter of a 64-bit key: two rounds of a multiply-xorshift permutation, a key
/// half each.
template <class V>
HWY_INLINE V mix(V counter, uint64_t key) {
  const hn::DFromV<V> d;
  const auto round = [&](V h, uint32_t half) {
    h = hn::Xor(h, hn::Set(d, half));
    h = hn::Mul(hn::Xor(h, hn::ShiftRight<16>(h)), hn::Set(d, 0x7FEB352Du));
    h = hn::Mul(hn::Xor(h, hn::ShiftRight<15>(h)), hn::Set(d, 0x846CA68Bu));
    return hn::Xor(h, hn::ShiftRight<16>(h));
  };
  return round(round(counter, static_cast<uint32_t>(key)), static_cast<uint32_t>(key >> 32));
}

void dropout(float* y, const float* x, float p, uint64_t key, int64_t n, bool accumulate) {
  parallel_for(n, grain, [=](int64_t begin, int64_t end) {
    const hn::RebindToUnsigned<Floats> counters;
    const hn::RebindToSigned<Floats> ints;
    const auto scaled = hn::Set(Floats(), 1.0f / (1.0f - p));
    const auto threshold = hn::Set(ints, static_cast<int32_t>(p * 0x1p24f));
    for_vectors(begin, end, [=](auto tail, int64_t i) {
      const auto bits =
          hn::BitCast(ints, hn::ShiftRight<8>(mix(hn::Iota(counters, static_cast<uint32_t>(i)), key)));
      const auto drop = hn::RebindMask(Floats(), hn::Lt(bits, threshold));
      put(tail, hn::IfThenZeroElse(drop, hn::Mul(load(tail, x + i, end - i), scaled)), y + i, end - i,
          accumulate);
    });
  });
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

namespace {
constexpr int64_t bytes_grain = 1 << 18;  // a memcpy of less is done before a second thread wakes
}

void set_bytes(void* y, int value, size_t bytes) {
  parallel_for(static_cast<int64_t>(bytes), bytes_grain, [=](int64_t begin, int64_t end) {
    std::memset(static_cast<char*>(y) + begin, value, static_cast<size_t>(end - begin));
  });
}
void copy_bytes(void* y, const void* x, size_t bytes) {
  parallel_for(static_cast<int64_t>(bytes), bytes_grain, [=](int64_t begin, int64_t end) {
    std::memcpy(static_cast<char*>(y) + begin, static_cast<const char*>(x) + begin,
                static_cast<size_t>(end - begin));
  });
}
void cast(bf16* y, const float* x, int64_t n) {
  parallel_for(n, bytes_grain, [=](int64_t begin, int64_t end) { std::copy(x + begin, x + end, y + begin); });
}
void cast(float* y, const bf16* x, int64_t n, bool accumulate) {
  parallel_for(n, bytes_grain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = accumulate ? y[i] + x[i] : static_cast<float>(x[i]);
  });
}
void fill(float* y, float value, int64_t n) { ESP_DISPATCH(fill)(y, value, n); }
void add(float* y, const float* a, const float* b, int64_t n) { ESP_DISPATCH(add)(y, a, b, n); }
void mul(float* y, const float* a, const float* b, int64_t n, bool accumulate) {
  ESP_DISPATCH(mul)(y, a, b, n, accumulate);
}
void scale(float* y, const float* x, float factor, int64_t n, bool accumulate) {
  ESP_DISPATCH(scale)(y, x, factor, n, accumulate);
}
void scale_by(float* y, const float* x, const float* factor, int64_t n, bool accumulate) {
  ESP_DISPATCH(scale)(y, x, *factor, n, accumulate);
}
void broadcast(float* y, const float* scalar, float times, int64_t n, bool accumulate) {
  ESP_DISPATCH(broadcast)(y, scalar, times, n, accumulate);
}
void copy_columns(float* y, int64_t y_width, const float* x, int64_t x_width, int64_t columns, int64_t rows,
                  bool accumulate) {
  ESP_DISPATCH(copy_columns)(y, y_width, x, x_width, columns, rows, accumulate);
}
void dropout(float* y, const float* x, float p, uint64_t key, int64_t n, bool accumulate) {
  ESP_DISPATCH(dropout)(y, x, p, key, n, accumulate);
}
void clip_forward(float* y, const float* x, float low, float high, int64_t n) {
  ESP_DISPATCH(clip_forward)(y, x, low, high, n);
}
void clip_backward(float* dx, const float* dy, const float* x, float low, float high, int64_t n,
                   bool accumulate) {
  ESP_DISPATCH(clip_backward)(dx, dy, x, low, high, n, accumulate);
}

}  // namespace espalier::cpu
#endif

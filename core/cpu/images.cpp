// Batches of images put together from a data set: bytes in, normalised floats out, in one pass.
#include <algorithm>
#include <cstring>

#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/images.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

constexpr int64_t grain = 8192;  // elements a thread should have before a second one is worth waking

/// bytes scale[c] + shift[c], channel by channel.
class Normaliser {
 public:
  Normaliser(const float* scale, const float* shift, int64_t channels)
      : scale_(scale), shift_(shift), channels_(channels) {
    if (channels <= most_channels)
      for (int64_t i = 0; i < channels * lanes(); ++i)
        scales_[i] = scale[i % channels], shifts_[i] = shift[i % channels];
  }

  /// to [n] from [n]; both begin at channel 0.
  void run(float* to, const uint8_t* from, int64_t n) const {
    if (channels_ > most_channels) {
      const hn::CappedTag<float, 1> one;  // rounded once, as below
      for (int64_t i = 0; i < n; ++i) {
        const int64_t c = i % channels_;
        to[i] =
            hn::GetLane(hn::MulAdd(hn::Set(one, from[i]), hn::Set(one, scale_[c]), hn::Set(one, shift_[c])));
      }
      return;
    }
    const int64_t period = channels_ * lanes();
    int64_t phase = 0;
    for_vectors(0, n, [&](auto tail, int64_t i) {
      const auto value = load_bytes(tail, from + i, n - i);
      store(tail, hn::MulAdd(value, hn::Load(Floats(), scales_ + phase), hn::Load(Floats(), shifts_ + phase)),
            to + i, n - i);
      phase = phase + lanes() == period ? 0 : phase + lanes();
    });
  }

 private:
  static constexpr int64_t most_channels = 16;
  static int64_t lanes() { return static_cast<int64_t>(hn::Lanes(Floats())); }

  const float *scale_, *shift_;
  int64_t channels_;
  // What a run of `channels` vectors is multiplied by and gets added: one period of both.
  HWY_ALIGN float scales_[most_channels * hn::MaxLanes(Floats())],
      shifts_[most_channels * hn::MaxLanes(Floats())];
};

/// Rows are drawn at random: no hardware foresees the next.
void fetch_ahead(const uint8_t* image, int64_t size) {
  for (int64_t i = 0; i < std::min<int64_t>(size, 4096); i += 64) hwy::Prefetch(image + i);
}

void gather_images(float* y, const uint8_t* x, const int64_t* rows, int64_t n, int64_t pixels,
                   int64_t channels, const float* scale, const float* shift) {
  const int64_t size = pixels * channels;
  const Normaliser normaliser(scale, shift, channels);
  parallel_for(n, std::max<int64_t>(1, grain / size), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (i + 1 < end) fetch_ahead(x + rows[i + 1] * size, size);
      normaliser.run(y + i * size, x + rows[i] * size, size);
    }
  });
}

/// One row of pixels through `across`, all black where `row` is null. `Channels` is c where that is known.
template <int64_t Channels>
void view_row(uint8_t* line, const uint8_t* row, const int32_t* across, int64_t w, int64_t c) {
  const auto size = static_cast<size_t>(Channels ? Channels : c);
  if (!row) {
    std::memset(line, 0, static_cast<size_t>(w) * size);
    return;
  }
  for (int64_t i = 0; i < w; ++i, line += size) {
    if (across[i] < 0)
      std::memset(line, 0, size);
    else
      std::memcpy(line, row + static_cast<size_t>(across[i]) * size, size);
  }
}

void gather_views(float* y, const ImageViews& v, const float* scale, const float* shift) {
  const int64_t line = v.w * v.c, size = v.h * line;
  const auto see = v.c == 1 ? view_row<1> : v.c == 3 ? view_row<3> : view_row<0>;
  const Normaliser normaliser(scale, shift, v.c);
  parallel_for(v.n, std::max<int64_t>(1, grain / size), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (i + 1 < end) fetch_ahead(v.x + v.rows[i + 1] * size, size);
      const uint8_t* from = v.x + v.rows[i] * size;
      float* to = y + i * size;
      // The image's bytes are put together in the last quarter of its floats, which overwrite a byte only
      // when it has been read.
      uint8_t* const bytes = reinterpret_cast<uint8_t*>(to + size) - size;
      for (int64_t row = 0; row < v.h; ++row) {
        const int32_t source = v.down[i * v.h + row];
        see(bytes + row * line, source < 0 ? nullptr : from + source * line, v.across + i * v.w, v.w, v.c);
      }
      normaliser.run(to, bytes, size);
      for (const Box* box = v.holes + i * v.holes_each; box < v.holes + (i + 1) * v.holes_each; ++box)
        for (int64_t row = box->top; row < box->bottom; ++row)
          std::memset(to + row * line + box->left * v.c, 0,
                      static_cast<size_t>((box->right - box->left) * v.c) * sizeof(float));
    }
  });
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

void gather_labels(int32_t* y, const int32_t* x, const int64_t* rows, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[rows[i]];
}
void gather_images(float* y, const uint8_t* x, const int64_t* rows, int64_t n, int64_t pixels,
                   int64_t channels, const float* scale, const float* shift) {
  ESP_DISPATCH(gather_images)(y, x, rows, n, pixels, channels, scale, shift);
}
void gather_views(float* y, const ImageViews& views, const float* scale, const float* shift) {
  ESP_DISPATCH(gather_views)(y, views, scale, shift);
}

}  // namespace espalier::cpu
#endif

// Winograd's tiles: from pixels to the 36 points of each tile, and from points to outputs. Included once per
// instruction set.
#if defined(ESPALIER_CORE_CPU_WINOGRAD_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ESPALIER_CORE_CPU_WINOGRAD_TILES_INL_H_
#undef ESPALIER_CORE_CPU_WINOGRAD_TILES_INL_H_
#else
#define ESPALIER_CORE_CPU_WINOGRAD_TILES_INL_H_
#endif

#include <hwy/cache_control.h>

#include "espalier/core/cpu/conv/epilogue-inl.h"
#include "espalier/core/cpu/conv/product-inl.h"
#include "espalier/core/cpu/conv/winograd_transform-inl.h"
#include "espalier/core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

/// Images [n,h,w,c], some of whose tiles are looked at.
struct Images {
  int64_t n, h, w, c;
};

/// The tiles of an output [n,h,w], by number.
struct Tiling {
  explicit Tiling(const ConvShape& s)
      : down(parts_of(s.out_h(), out_side)),
        across(parts_of(s.out_w(), out_side)),
        count(s.n * down * across) {}
  struct Corner {
    int64_t image, y, x;  ///< in outputs
  };
  Corner corner(int64_t tile) const {
    return {tile / (down * across), tile / across % down * out_side, tile % across * out_side};
  }
  int64_t down, across, count;
};

/// Tiles `range` of `images` by T, each from `pad` pixels above and left of its corner: point p of tile t and
/// the channels from k on go to points[p plane + place(t - range.begin, k)]. What lies outside an image is 0.
template <class T, class Place>
HWY_INLINE void to_points(const float* HWY_RESTRICT pixels, const Images& images, int64_t pad,
                          const Tiling& tiling, Range range, float* HWY_RESTRICT points, int64_t plane,
                          const Place& place) {
  const int64_t c = images.c, row = images.w * c;
  for (int64_t t = range.begin; t < range.end; ++t) {
    const auto at = tiling.corner(t);
    const int64_t y = at.y - pad, x = at.x - pad;
    const float* HWY_RESTRICT corner = pixels + (at.image * images.h + y) * row + x * c;
    const auto all_channels = [&](const auto& read) HWY_ATTR {
      for_vectors(0, c, [&](auto tail, int64_t k) HWY_ATTR {
        float* HWY_RESTRICT to = points + place(t - range.begin, k);
        transform_square<T>([&](int i, int j) HWY_ATTR { return read(tail, i, j, k); },
                            [&](int i, int j, FloatVector v)
                                HWY_ATTR { hn::StoreU(v, Floats(), to + (i * T::to + j) * plane); });
      });
    };
    if (y >= 0 && x >= 0 && y + T::from <= images.h && x + T::from <= images.w) {
      all_channels([&](auto tail, int i, int j, int64_t k) HWY_ATTR {
        const float* HWY_RESTRICT from = corner + i * row + j * c + k;
        if (j >= T::from - out_side) hwy::Prefetch(from + out_side * c);  // the next tile's
        return load(tail, from, c - k);
      });
    } else {
      all_channels([&](auto tail, int i, int j, int64_t k) HWY_ATTR {
        const bool inside = y + i >= 0 && y + i < images.h && x + j >= 0 && x + j < images.w;
        return inside ? load(tail, corner + i * row + j * c + k, c - k) : hn::Zero(Floats());
      });
    }
  }
}

/// The channels [begin,end) of tiles `range`, from m [points][tiles][stride] to y [images] with the epilogue.
/// `sums`: of the block.
template <bool is_plain>
HWY_INLINE void to_outputs(float* y, const Images& images, const Tiling& tiling, Range range, Range channels,
                           const float* HWY_RESTRICT m, int64_t plane, int64_t stride, const ConvEpilogue& e,
                           float* sums) {
  const int64_t o = images.c;
  for (int64_t t = range.begin; t < range.end; ++t, m += stride) {
    const auto at = tiling.corner(t);
    const int64_t corner = ((at.image * images.h + at.y) * images.w + at.x) * o;
    const int64_t rows = std::min<int64_t>(out_side, images.h - at.y),
                  columns = std::min<int64_t>(out_side, images.w - at.x);
    for_vectors(channels.begin, channels.end, [&](auto tail, int64_t k) HWY_ATTR {
      OutputChannels<is_plain, decltype(tail)> out(e, k, channels.end - k);
      const float* HWY_RESTRICT from = m + (k - channels.begin);
      transform_square<OutputTransform>(
          [&](int i, int j) HWY_ATTR { return hn::LoadU(Floats(), from + (i * in_side + j) * plane); },
          [&](int i, int j, FloatVector v) HWY_ATTR {
            if (i < rows && j < columns) out.put(v, y, corner + (i * images.w + j) * o + k);
          });
      out.finish(sums, o);
    });
  }
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

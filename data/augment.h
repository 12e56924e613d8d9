// Augmentation: training images changed at random, in the order of a list. What happens to an image is a
// function of seed, epoch, the image's place in the epoch and the augmentation's place in the list, and of
// nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "espalier/core/kernels.h"
#include "espalier/core/tensor.h"

namespace espalier {

/// One entry of the list; each field belongs to the types it names.
///   crop:    the image with `pad` pixels around it, and of that a part of the image's size
///   flip:    mirrored left to right
///   cutout:  a square at any centre, cut at the edges, becomes the mean: 0 after normalisation
///            (DeVries and Taylor 2017)
///   random_resized_crop: a part of the area and the form given, resized to the image's size, bilinear
///            (Szegedy et al. 2015; as torchvision draws it)
///   color_jitter: brightness, contrast and saturation in this order, each by a factor uniform on
///            [max(0, 1 - a), 1 + a] and clamped to valid pixels (torchvision's formulas)
///   mixup:   image i with image n-1-i of the batch, share : 1 - share, and their labels; one share a batch,
///            the larger part of a draw from Beta(alpha, alpha) (Zhang et al. 2018). The last of its list.
struct Augmentation {
  std::string type;
  int64_t pad = 0;  ///< crop: pixels a side
  std::string fill =
      "zero";  ///< crop: the padding: zero, which is black whatever the normalisation, or reflect
  double probability = 0.5;                             ///< flip
  int64_t size = 0;                                     ///< cutout: pixels a side
  std::vector<double> scale = {0.08, 1.0};              ///< random_resized_crop: smallest and largest area
  std::vector<double> ratio = {3.0 / 4.0, 4.0 / 3.0};   ///< random_resized_crop: width / height
  double brightness = 0, contrast = 0, saturation = 0;  ///< color_jitter
  double alpha = 0;                                     ///< mixup
};

/// A field of list[place] that images [H,W,C] or the rest of the list do not allow.
struct Misfit {
  size_t place;
  std::string field, message;
};
std::optional<Misfit> find_misfit(const std::vector<Augmentation>& list, const Shape& image);

/// What all channels are multiplied by and get added, [C] each: y = pixel scale + shift.
struct Normalization {
  std::vector<float> scale, shift;
};

/// What leading crops and flips, and cutouts if nothing else follows them, make of n images: the maps and
/// holes of ImageViews (core/kernels.h), in the memory of a device.
struct Views {
  Tensor down, across;  ///< i32 [n,H], [n,W]
  Tensor holes;         ///< i32 [n,holes_each,4]: a Box each; undefined without any
  int64_t holes_each = 0;
};

class Augmenter {
 public:
  /// For images [H,W,C]. UsageError if one of `list` does not fit them.
  Augmenter(std::vector<Augmentation> list, const Shape& image, Normalization normalization, uint64_t seed);

  /// y f32 [n,H,W,C]: images rows[0] .. rows[n-1] of x u8 [*,H,W,C], augmented and normalised. `first`: the
  /// place of the first in its epoch. Returns the share of image i in y[i], the rest being image n-1-i: 1
  /// without mixup.
  float gather(float* y, const uint8_t* x, const int64_t* rows, int64_t n, int64_t epoch,
               int64_t first) const;
  /// True if views() and one pass of gather_views are all that the list asks for.
  bool only_views() const { return one_pass_ && pixels_ == list_.size(); }
  /// Of the images at places first .. first+n-1 of their epoch.
  Views views(int64_t n, int64_t epoch, int64_t first) const;

 private:
  void gather_moved(float* y, const uint8_t* x, const int64_t* rows, int64_t n, int64_t epoch, int64_t first,
                    const Normalization& normalization) const;
  void change(float* image, float* spare, int64_t epoch, int64_t index) const;
  float mix(float* y, int64_t n, int64_t epoch, int64_t first) const;

  std::vector<Augmentation> list_;
  int64_t h_, w_, c_;
  Normalization normalization_;
  uint64_t key_;
  size_t moves_, pixels_;  // the list's crops and flips up to the first other; all before mixup
  bool one_pass_;          // between the two, there are only cutouts
};

}  // namespace espalier

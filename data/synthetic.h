// Synthetic digits: a small data set drawn from a seed, so that everything runs with nothing to download.
#pragma once

#include <cstdint>

#include "espalier/data/dataset.h"

namespace espalier {

struct SyntheticOptions {
  int64_t train = 8000, test = 2000;  ///< images
  int64_t height = 28, width = 28, channels = 1;
  int64_t classes = 10;  ///< the numbers 0 .. classes-1
  uint64_t seed = 0;
};

/// Handwriting-like digits: the strokes of a small font, bent, slanted, rotated, scaled, shifted and drawn
/// with a pen of random width on a noisy ground; with several channels, in random colours. Image i is a
/// function only of (seed, split, i). More than ten classes are numbers of several digits, side by side,
/// with leading zeros. UsageError unless 2 <= classes <= 10,000, 8 <= height <= 1024, 8 digits <= width <=
/// 1024, 1 <= channels <= 16 and both splits have an image.
DataSplits draw_synthetic(const SyntheticOptions& options = {});

}  // namespace espalier

// Two passes, along the rows and then along the columns, each a weighted mean of neighbours.
#include <algorithm>
#include <cmath>

#include "espalier/data/image.h"

namespace espalier {
namespace {

/// The input pixels that make one of the output: `weights` of those from `first`; they sum to 1.
struct Taps {
  int64_t first;
  std::vector<float> weights;
};

/// For `to` pixels that lie evenly in the window of `from` pixels that begins at `start` and is `window`
/// wide.
std::vector<Taps> taps_of(int64_t from, double start, double window, int64_t to) {
  const double scale = window / static_cast<double>(to), reach = std::max(scale, 1.0);
  std::vector<Taps> taps(static_cast<size_t>(to));
  for (int64_t i = 0; i < to; ++i) {
    const double centre = start + (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<int64_t>(0, static_cast<int64_t>(std::floor(centre - reach + 0.5)));
    const auto end = std::min<int64_t>(from, static_cast<int64_t>(std::floor(centre + reach + 0.5)));
    std::vector<double> weights;
    double sum = 0;
    for (int64_t j = first; j < end; ++j) {
      weights.push_back(std::max(0.0, 1 - std::abs(static_cast<double>(j) + 0.5 - centre) / reach));
      sum += weights.back();
    }
    Taps& result = taps[static_cast<size_t>(i)];
    result.first = first;
    for (double weight : weights) result.weights.push_back(static_cast<float>(weight / sum));
  }
  return taps;
}

}  // namespace

void resize(const Image& from, int64_t height, int64_t width, uint8_t* to) {
  const auto h = static_cast<double>(height), w = static_cast<double>(width);
  const auto from_h = static_cast<double>(from.height), from_w = static_cast<double>(from.width);
  const double zoom = std::max(h / from_h, w / from_w), window_h = h / zoom, window_w = w / zoom;
  const auto rows = taps_of(from.height, (from_h - window_h) / 2, window_h, height);
  const auto columns = taps_of(from.width, (from_w - window_w) / 2, window_w, width);
  const int64_t c = from.channels, row = width * c;

  const int64_t top = rows.front().first;
  const int64_t bottom = rows.back().first + static_cast<int64_t>(rows.back().weights.size());
  std::vector<float> narrowed(static_cast<size_t>((bottom - top) * row), 0.0f);
  for (int64_t y = top; y < bottom; ++y) {
    const uint8_t* in = from.pixels.data() + y * from.width * c;
    float* out = narrowed.data() + (y - top) * row;
    for (const Taps& taps : columns) {
      const uint8_t* pixel = in + taps.first * c;
      for (float weight : taps.weights)
        for (int64_t k = 0; k < c; ++k) out[k] += weight * static_cast<float>(*pixel++);
      out += c;
    }
  }

  std::vector<float> sum(static_cast<size_t>(row));
  for (const Taps& taps : rows) {
    std::ranges::fill(sum, 0.5f);  // rounds
    const float* in = narrowed.data() + (taps.first - top) * row;
    for (float weight : taps.weights)
      for (float& value : sum) value += weight * *in++;
    for (float value : sum) *to++ = static_cast<uint8_t>(std::clamp(value, 0.0f, 255.0f));
  }
}

}  // namespace espalier

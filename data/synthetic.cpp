// Each image is drawn from a random stream of its own, so that threads and sizes change none of them.
#include "espalier/data/synthetic.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "espalier/core/parallel.h"
#include "espalier/core/random.h"
#include "espalier/data/datasets.h"
#include "espalier/util/interrupt.h"

namespace espalier {
namespace {

struct Point {
  float x, y;  // x to the right, y down
};
using Stroke = std::vector<Point>;
using Glyph = std::vector<Stroke>;

/// The ways to write each digit, as corners of strokes in the unit square. Corners are rounded when drawn.
const std::array<std::vector<Glyph>, 10>& font() {
  // clang-format off
  static const std::array<std::vector<Glyph>, 10> digits = {{
      {{{{.5, .05}, {.15, .1}, {.12, .5}, {.18, .92}, {.5, .97}, {.84, .92}, {.88, .5}, {.84, .1}, {.5, .05}}}},
      {{{{.5, .05}, {.5, .95}}},
       {{{.3, .27}, {.52, .06}, {.52, .95}}},
       {{{.3, .27}, {.52, .06}, {.52, .95}}, {{.28, .95}, {.76, .95}}}},
      {{{{.17, .32}, {.22, .03}, {.85, .02}, {.82, .42}, {.45, .7}, {.15, .95}, {.5, .94}, {.88, .95}}},
       {{{.17, .25}, {.3, 0}, {.9, .1}, {.7, .5}, {.2, 1}, {.1, .8}, {.35, .75}, {.6, .95}, {.9, .88}}}},
      {{{{.18, .14}, {.5, 0}, {.9, .1}, {.8, .42}, {.42, .48}, {.86, .5}, {.92, .88}, {.5, 1}, {.14, .86}}},
       {{{.18, .06}, {.82, .06}, {.45, .42}, {.9, .48}, {.88, .92}, {.5, 1}, {.14, .86}}}},
      {{{{.58, .05}, {.14, .62}, {.88, .62}}, {{.66, .35}, {.66, .95}}},
       {{{.22, .06}, {.18, .52}, {.8, .54}}, {{.76, .05}, {.72, .95}}}},
      {{{{.8, .06}, {.27, .06}, {.22, .48}, {.55, .36}, {.92, .5}, {.86, .9}, {.45, 1}, {.14, .86}}},
       {{{.27, .06}, {.22, .46}, {.55, .36}, {.92, .5}, {.86, .9}, {.45, 1}, {.14, .86}}, {{.27, .06}, {.85, .05}}}},
      {{{{.74, .04}, {.35, .18}, {.15, .5}, {.14, .92}, {.5, 1}, {.88, .92}, {.86, .52}, {.5, .44}, {.17, .66}}}},
      {{{{.14, .07}, {.86, .07}, {.52, .5}, {.4, .95}}},
       {{{.14, .07}, {.86, .07}, {.52, .5}, {.4, .95}}, {{.3, .52}, {.74, .5}}}},
      {{{{.5, .47}, {.14, .36}, {.22, .02}, {.78, .02}, {.86, .36},
         {.5, .47}, {.1, .62}, {.14, .98}, {.86, .98}, {.9, .62}, {.5, .47}}},
       {{{.8, .15}, {.5, -.05}, {.1, .12}, {.3, .42}, {.75, .55},
         {.9, .9}, {.5, 1.05}, {.1, .9}, {.3, .55}, {.7, .4}, {.82, .12}}}},
      {{{{.84, .28}, {.74, .03}, {.26, .02}, {.13, .36}, {.36, .56}, {.78, .46}, {.84, .2}, {.82, .55}, {.7, .95}}},
       {{{.84, .28}, {.74, .03}, {.26, .02}, {.13, .36}, {.36, .56}, {.78, .46}, {.84, .2}, {.84, .8}, {.6, 1}, {.2, .92}}}},
  }};
  // clang-format on
  return digits;
}

/// The numbers of one image, one after the other.
class Dice {
 public:
  explicit Dice(uint64_t key) : key_(key) {}
  float between(float low, float high) { return low + (high - low) * random_uniform(key_, count_++); }
  int64_t below(int64_t n) { return random_below(key_, count_++, n); }

 private:
  uint64_t key_, count_ = 0;
};

/// Cuts each corner at a quarter of its sides (Chaikin 1974); the ends stay.
Stroke round_corners(const Stroke& stroke) {
  Stroke result{stroke.front()};
  const auto mix = [](Point a, Point b, float t) {
    return Point{a.x + t * (b.x - a.x), a.y + t * (b.y - a.y)};
  };
  for (size_t i = 0; i + 1 < stroke.size(); ++i) {
    if (i > 0) result.push_back(mix(stroke[i], stroke[i + 1], 0.25f));
    if (i + 2 < stroke.size()) result.push_back(mix(stroke[i], stroke[i + 1], 0.75f));
  }
  result.push_back(stroke.back());
  return result;
}

/// One gray image under construction: how much ink each pixel has, 0..1.
class Canvas {
 public:
  Canvas(int64_t height, int64_t width)
      : height_(height), width_(width), ink_(static_cast<size_t>(height * width)) {}

  void clear() { std::fill(ink_.begin(), ink_.end(), 0.0f); }
  const std::vector<float>& ink() const { return ink_; }

  /// A line from a to b, in pixels, of a round pen of that radius; its edge is soft over one pixel.
  void line(Point a, Point b, float radius) {
    const float reach = radius + 0.5f, dx = b.x - a.x, dy = b.y - a.y;
    const float inverse = 1.0f / std::max(dx * dx + dy * dy, 1e-6f);
    const auto clip = [](float v, int64_t size) {
      return std::clamp<int64_t>(static_cast<int64_t>(v), 0, size);
    };
    const int64_t top = clip(std::min(a.y, b.y) - reach, height_),
                  bottom = clip(std::max(a.y, b.y) + reach + 1, height_);
    const int64_t left = clip(std::min(a.x, b.x) - reach, width_),
                  right = clip(std::max(a.x, b.x) + reach + 1, width_);
    for (int64_t y = top; y < bottom; ++y) {
      for (int64_t x = left; x < right; ++x) {
        const float px = static_cast<float>(x) + 0.5f - a.x, py = static_cast<float>(y) + 0.5f - a.y;
        const float t = std::clamp((px * dx + py * dy) * inverse, 0.0f, 1.0f);
        const float qx = px - t * dx, qy = py - t * dy;
        const float cover = reach - std::sqrt(qx * qx + qy * qy);
        float& ink = ink_[static_cast<size_t>(y * width_ + x)];
        ink = std::max(ink, std::min(cover, 1.0f));
      }
    }
  }

 private:
  int64_t height_, width_;
  std::vector<float> ink_;
};

/// A part of the canvas, from the left to the right.
struct Cell {
  float left, width;
};

void draw_digit(Canvas& canvas, const Cell& cell, int64_t digit, const SyntheticOptions& options,
                Dice& dice) {
  constexpr float bend = 0.08f;  // of a corner, each way
  const auto& ways = font()[static_cast<size_t>(digit)];
  const Glyph& glyph = ways[static_cast<size_t>(dice.below(static_cast<int64_t>(ways.size())))];
  const auto height = static_cast<float>(options.height), width = cell.width;
  const float size = std::min(height, width);
  const float angle = dice.between(-0.2f, 0.2f), slant = dice.between(-0.25f, 0.35f);
  const float tall = size * dice.between(0.6f, 0.75f), wide = tall * dice.between(0.55f, 0.9f);
  const float radius = size * dice.between(0.03f, 0.06f);
  const float cosine = std::cos(angle), sine = std::sin(angle);
  const float center_x = cell.left + width / 2 + (width - wide) * dice.between(-0.08f, 0.08f);
  const float center_y = height / 2 + (height - tall) * dice.between(-0.15f, 0.15f);
  for (Stroke stroke : glyph) {
    for (Point& point : stroke) {
      const float y = (point.y - 0.5f + dice.between(-bend, bend)) * tall;
      const float x = (point.x - 0.5f + dice.between(-bend, bend)) * wide - slant * y;
      point = {center_x + cosine * x - sine * y, center_y + sine * x + cosine * y};
    }
    stroke = round_corners(round_corners(stroke));
    for (size_t i = 0; i + 1 < stroke.size(); ++i) canvas.line(stroke[i], stroke[i + 1], radius);
  }
}

/// Digits that the largest of the numbers has.
int64_t digits_of(int64_t classes) { return static_cast<int64_t>(std::to_string(classes - 1).size()); }

/// With leading zeros, so that all numbers have as many digits, side by side.
void draw_number(Canvas& canvas, int64_t number, const SyntheticOptions& options, Dice& dice) {
  const int64_t digits = digits_of(options.classes);
  const float width = static_cast<float>(options.width) / static_cast<float>(digits);
  for (int64_t i = digits; i-- > 0; number /= 10)
    draw_digit(canvas, {static_cast<float>(i) * width, width}, number % 10, options, dice);
}

/// Ink on a ground, each of its own brightness in each channel, with noise. pixels u8 [H,W,C]
void develop(uint8_t* pixels, const Canvas& canvas, const SyntheticOptions& options, uint64_t noise_key,
             Dice& dice) {
  constexpr float noise = 40.0f;
  std::array<float, 16> ground, contrast;
  for (int64_t c = 0; c < options.channels; ++c) {
    ground[c] = options.channels == 1 ? 0.0f : dice.between(0.0f, 80.0f);
    contrast[c] = dice.between(140.0f, 255.0f) - ground[c];
  }
  uint64_t count = 0;
  for (float ink : canvas.ink())
    for (int64_t c = 0; c < options.channels; ++c) {
      const float grain = noise * (random_uniform(noise_key, count++) - 0.5f);
      *pixels++ = static_cast<uint8_t>(std::clamp(ground[c] + contrast[c] * ink + grain, 0.0f, 255.0f));
    }
}

Dataset draw_split(const SyntheticOptions& options, uint64_t split, int64_t size, const char* name) {
  constexpr uint64_t synthetic_stream = 0x73796E746865;  // "synthe"
  const uint64_t key = random_key(random_key(options.seed, synthetic_stream), split);
  Dataset result{name,
                 Tensor::empty({size, options.height, options.width, options.channels}, DType::u8),
                 std::vector<int32_t>(static_cast<size_t>(size)),
                 {}};
  for (int64_t c = 0; c < options.classes; ++c) result.class_names.push_back(std::to_string(c));
  auto* images = result.images.data<uint8_t>();
  const int64_t image = result.images.shape().row_elements();
  parallel_for(size, 64, [&](int64_t begin, int64_t end) {
    Canvas canvas(options.height, options.width);
    for (int64_t i = begin; i < end && !interrupt_signal(); ++i) {
      const uint64_t image_key = random_key(key, static_cast<uint64_t>(i));
      Dice dice(image_key);
      const int64_t number = dice.below(options.classes);
      result.labels[static_cast<size_t>(i)] = static_cast<int32_t>(number);
      canvas.clear();
      draw_number(canvas, number, options, dice);
      develop(images + i * image, canvas, options, random_key(image_key, 0), dice);
    }
  });
  stop_if_interrupted();
  return result;
}

}  // namespace

DataSplits draw_synthetic(const SyntheticOptions& options) {
  const auto check = [](const char* field, int64_t value, int64_t min_value, int64_t max_value) {
    if (value < min_value || value > max_value)
      fail_usage("synthetic: ", field, ": found ", value, ", expected ", min_value, " to ", max_value);
  };
  check("train", options.train, 1, 10'000'000);
  check("test", options.test, 1, 10'000'000);
  check("classes", options.classes, 2, 10'000);
  check("height", options.height, 8, 1024);
  check("width", options.width, 8 * digits_of(options.classes), 1024);
  check("channels", options.channels, 1, 16);
  return {draw_split(options, 0, options.train, "synthetic train"),
          {},
          draw_split(options, 1, options.test, "synthetic test")};
}

DatasetInfo synthetic() {
  return {
      .name = "synthetic",
      .help = "10,000 numbers drawn by the program, of the model's classes and in its shape; needs no files.",
      .options = {"train_images", "test_images"},
      .is_drawn = true,
      .keeps_class_names = false,
      .classes = [](const DatasetRequest& wanted) { return wanted.classes; },
      .load =
          [](const DatasetRequest& wanted) {
            return draw_synthetic({.train = wanted.train_images,
                                   .test = wanted.test_images,
                                   .height = wanted.image[0],
                                   .width = wanted.image[1],
                                   .channels = wanted.image[2],
                                   .classes = wanted.classes});
          }};
}

}  // namespace espalier

// Crops and flips that lead the list only change where a pixel is read: two index maps an image, which the
// kernel that gathers the batch follows, and cutouts after them are its holes. So the common list is one
// pass, bytes in, floats out. All others work on the image's floats, 0 to 255, in place.
#include "espalier/data/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "espalier/core/parallel.h"
#include "espalier/core/random.h"

namespace espalier {
namespace {

constexpr uint64_t augment_stream = 0x6175676D656E74;  // "augment"

bool moves(const Augmentation& a) { return a.type == "crop" || a.type == "flip"; }

/// The random numbers of one augmentation of one image, in the order they are asked for.
class Draws {
 public:
  Draws(uint64_t key, size_t place, int64_t epoch, int64_t image)
      : key_(random_key(random_key(random_key(key, place), static_cast<uint64_t>(epoch)),
                        static_cast<uint64_t>(image))) {}
  double uniform(double from = 0, double to = 1) {
    return from + (to - from) * random_uniform(key_, next_++);
  }
  int64_t below(int64_t n) { return random_below(key_, next_++, n); }
  /// Of mean 0 and deviation 1.
  double normal() {
    const double u = uniform(), v = uniform();
    return box_muller(u, v);
  }
  /// Gamma(shape, 1) by Marsaglia and Tsang (2000); a shape under 1 through that of shape + 1.
  double gamma(double shape) {
    if (shape < 1) return gamma(shape + 1) * std::pow(1 - uniform(), 1 / shape);
    const double d = shape - 1.0 / 3.0, c = 1 / std::sqrt(9 * d);
    while (true) {
      const double x = normal(), v = std::pow(1 + c * x, 3);
      if (v > 0 && std::log(1 - uniform()) < x * x / 2 + d - d * v + d * std::log(v)) return d * v;
    }
  }

 private:
  uint64_t key_, next_ = 0;
};

/// An image's floats [h,w,c] in place of which another of that size can be put.
struct Image {
  float *pixels, *spare;
  int64_t h, w, c;

  int64_t size() const { return h * w * c; }
  float* at(int64_t row, int64_t column) { return pixels + (row * w + column) * c; }
  float* spare_at(int64_t row, int64_t column) { return spare + (row * w + column) * c; }
};

// --- crop and flip: where a pixel is read ---

/// map[i] becomes map[i + by]; beyond its ends -1, or what is met on the way back.
void shift(std::span<int32_t> map, int64_t by, bool reflect) {
  const auto size = static_cast<int64_t>(map.size());
  const auto old = [&, before = std::vector<int32_t>(map.begin(), map.end())](int64_t i) {
    if (reflect) i = i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i;
    return i < 0 || i >= size ? -1 : before[static_cast<size_t>(i)];
  };
  for (int64_t i = 0; i < size; ++i) map[static_cast<size_t>(i)] = old(i + by);
}

void move(std::span<int32_t> down, std::span<int32_t> across, const Augmentation& a, Draws draws) {
  if (a.type == "flip") {
    if (draws.uniform() < a.probability) std::ranges::reverse(across);
    return;
  }
  const bool reflect = a.fill == "reflect";
  shift(down, draws.below(2 * a.pad + 1) - a.pad, reflect);
  shift(across, draws.below(2 * a.pad + 1) - a.pad, reflect);
}

void move(Image& image, const Augmentation& a, Draws draws) {
  std::vector<int32_t> down(static_cast<size_t>(image.h)), across(static_cast<size_t>(image.w));
  std::iota(down.begin(), down.end(), 0);
  std::iota(across.begin(), across.end(), 0);
  move(down, across, a, draws);
  for (int64_t row = 0; row < image.h; ++row)
    for (int64_t column = 0; column < image.w; ++column) {
      const int32_t from = down[static_cast<size_t>(row)], beside = across[static_cast<size_t>(column)];
      if (from < 0 || beside < 0)
        std::fill_n(image.spare_at(row, column), image.c, 0.0f);
      else
        std::copy_n(image.at(from, beside), image.c, image.spare_at(row, column));
    }
  std::swap(image.pixels, image.spare);
}

// --- the others ---

Box hole(int64_t h, int64_t w, const Augmentation& a, Draws draws) {
  const int64_t top = draws.below(h) - a.size / 2, left = draws.below(w) - a.size / 2;
  const auto within = [](int64_t i, int64_t size) {
    return static_cast<int32_t>(std::clamp<int64_t>(i, 0, size));
  };
  return {within(top, h), within(left, w), within(top + a.size, h), within(left + a.size, w)};
}

void cut_out(Image& image, const Augmentation& a, Draws draws, const Normalization& normalization) {
  const Box box = hole(image.h, image.w, a, draws);
  for (int64_t row = box.top; row < box.bottom; ++row)
    for (int64_t column = box.left; column < box.right; ++column)
      for (int64_t k = 0; k < image.c; ++k)
        image.at(row, column)[k] =
            -normalization.shift[static_cast<size_t>(k)] / normalization.scale[static_cast<size_t>(k)];
}

/// The part of the image that becomes the new image: torchvision's ten tries, then the largest part in the
/// middle whose form is within `ratio`.
Box part_of_area(const Image& image, const Augmentation& a, Draws draws) {
  const auto h = static_cast<double>(image.h), w = static_cast<double>(image.w);
  const auto box = [](int64_t top, int64_t left, int64_t height, int64_t width) {
    return Box{static_cast<int32_t>(top), static_cast<int32_t>(left), static_cast<int32_t>(top + height),
               static_cast<int32_t>(left + width)};
  };
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = h * w * draws.uniform(a.scale[0], a.scale[1]);
    const double ratio = std::exp(draws.uniform(std::log(a.ratio[0]), std::log(a.ratio[1])));
    const int64_t width = std::llround(std::sqrt(area * ratio)),
                  height = std::llround(std::sqrt(area / ratio));
    if (width < 1 || width > image.w || height < 1 || height > image.h) continue;
    const int64_t top = draws.below(image.h - height + 1), left = draws.below(image.w - width + 1);
    return box(top, left, height, width);
  }
  const double ratio = std::clamp(w / h, a.ratio[0], a.ratio[1]);
  const int64_t height = std::clamp<int64_t>(std::llround(w / ratio), 1, image.h),
                width = std::clamp<int64_t>(std::llround(h * ratio), 1, image.w);
  return box((image.h - height) / 2, (image.w - width) / 2, height, width);
}

/// Where output place i of `size` is read from begin .. end-1: between two places, at `share` of the way.
struct Between {
  int64_t first, second;
  float share;
  Between(int64_t i, int64_t size, int64_t begin, int64_t end) {
    const double step = static_cast<double>(end - begin) / static_cast<double>(size);
    const double at =
        std::clamp((static_cast<double>(i) + 0.5) * step - 0.5, 0.0, static_cast<double>(end - begin - 1));
    const auto whole = static_cast<int64_t>(at);
    first = begin + whole;
    second = std::min(first + 1, end - 1);
    share = static_cast<float>(at - static_cast<double>(whole));
  }
};

void crop_and_resize(Image& image, const Augmentation& a, Draws draws) {
  const Box box = part_of_area(image, a, draws);
  std::vector<Between> columns;
  for (int64_t i = 0; i < image.w; ++i) columns.emplace_back(i, image.w, box.left, box.right);
  for (int64_t row = 0; row < image.h; ++row) {
    const Between rows(row, image.h, box.top, box.bottom);
    for (int64_t column = 0; column < image.w; ++column) {
      const Between& x = columns[static_cast<size_t>(column)];
      const float *nw = image.at(rows.first, x.first), *ne = image.at(rows.first, x.second),
                  *sw = image.at(rows.second, x.first), *se = image.at(rows.second, x.second);
      float* to = image.spare_at(row, column);
      for (int64_t k = 0; k < image.c; ++k) {
        const float north = nw[k] + x.share * (ne[k] - nw[k]), south = sw[k] + x.share * (se[k] - sw[k]);
        to[k] = north + rows.share * (south - north);
      }
    }
  }
  std::swap(image.pixels, image.spare);
}

/// Luma by ITU-R BT.601 for colours, the mean for any other number of channels.
float grey(const float* pixel, int64_t c) {
  if (c == 3) return 0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2];
  return std::accumulate(pixel, pixel + c, 0.0f) / static_cast<float>(c);
}

void jitter(Image& image, const Augmentation& a, Draws draws) {
  const auto blend = [](float value, float towards, float factor) {
    return std::clamp(towards + factor * (value - towards), 0.0f, 255.0f);
  };
  const auto factor = [&](double amount) {
    return static_cast<float>(draws.uniform(std::max(0.0, 1 - amount), 1 + amount));
  };
  const float brightness = factor(a.brightness), contrast = factor(a.contrast),
              saturation = factor(a.saturation);
  float* const end = image.pixels + image.size();
  for (float* value = image.pixels; value < end; ++value) *value = blend(*value, 0, brightness);
  double sum = 0;
  for (float* pixel = image.pixels; pixel < end; pixel += image.c)
    sum += static_cast<double>(grey(pixel, image.c));
  const auto mean = static_cast<float>(sum / static_cast<double>(image.h * image.w));
  for (float* value = image.pixels; value < end; ++value) *value = blend(*value, mean, contrast);
  if (image.c == 3)
    for (float* pixel = image.pixels; pixel < end; pixel += image.c) {
      const float own = grey(pixel, image.c);
      for (int64_t k = 0; k < image.c; ++k) pixel[k] = blend(pixel[k], own, saturation);
    }
}

}  // namespace

std::optional<Misfit> find_misfit(const std::vector<Augmentation>& list, const Shape& image) {
  const int64_t side = std::min(image[0], image[1]);
  for (size_t i = 0; i < list.size(); ++i) {
    const Augmentation& a = list[i];
    if (a.type == "crop" && a.fill == "reflect" && a.pad >= side)
      return Misfit{i, "pad", join("found ", a.pad, ", but images ", image, " reflect at most ", side - 1)};
    if (a.type == "cutout" && a.size > std::max(image[0], image[1]))
      return Misfit{i, "size", join("found ", a.size, ", but images are ", image)};
    if (a.type == "color_jitter" && a.saturation > 0 && image[2] != 3)
      return Misfit{i, "saturation", join("is for images of 3 channels, these are ", image)};
    if (a.type == "mixup" && i + 1 < list.size())
      return Misfit{i, "type", "mixup mixes finished images, so it is the last of its list"};
  }
  return std::nullopt;
}

Augmenter::Augmenter(std::vector<Augmentation> list, const Shape& image, Normalization normalization,
                     uint64_t seed)
    : list_(std::move(list)),
      h_(image[0]),
      w_(image[1]),
      c_(image[2]),
      normalization_(std::move(normalization)),
      key_(random_key(seed, augment_stream)) {
  if (const auto misfit = find_misfit(list_, image))
    fail_usage("/data/augment/", misfit->place, "/", misfit->field, ": ", misfit->message);
  const auto begin = list_.begin(), end = std::ranges::find(list_, "mixup", &Augmentation::type),
             moved = std::find_if_not(begin, end, moves);
  moves_ = static_cast<size_t>(moved - begin);
  pixels_ = static_cast<size_t>(end - begin);
  one_pass_ = std::all_of(moved, end, [](const Augmentation& a) { return a.type == "cutout"; });
}

float Augmenter::gather(float* y, const uint8_t* x, const int64_t* rows, int64_t n, int64_t epoch,
                        int64_t first) const {
  if (one_pass_) {
    gather_moved(y, x, rows, n, epoch, first, normalization_);
  } else {
    const auto channels = static_cast<size_t>(c_);
    gather_moved(y, x, rows, n, epoch, first,
                 {std::vector<float>(channels, 1.0f), std::vector<float>(channels, 0.0f)});
    const int64_t size = h_ * w_ * c_;
    parallel_for(n, std::max<int64_t>(1, 4096 / size), [&](int64_t begin, int64_t end) {
      Tensor spare = Tensor::empty({size});
      for (int64_t i = begin; i < end; ++i) change(y + i * size, spare.f32(), epoch, first + i);
    });
  }
  return pixels_ < list_.size() ? mix(y, n, epoch, first) : 1.0f;
}

Views Augmenter::views(int64_t n, int64_t epoch, int64_t first) const {
  const int64_t holes = one_pass_ ? static_cast<int64_t>(pixels_ - moves_) : 0;
  Views views{Tensor::empty({n, h_}, DType::i32), Tensor::empty({n, w_}, DType::i32), {}, holes};
  if (holes > 0) views.holes = Tensor::empty({n, holes, 4}, DType::i32);
  auto *down = views.down.data<int32_t>(), *across = views.across.data<int32_t>();
  auto* const boxes = static_cast<Box*>(views.holes.raw());
  parallel_for(n, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const std::span rows_of(down + i * h_, static_cast<size_t>(h_)),
          columns_of(across + i * w_, static_cast<size_t>(w_));
      std::iota(rows_of.begin(), rows_of.end(), 0);
      std::iota(columns_of.begin(), columns_of.end(), 0);
      for (size_t place = 0; place < moves_; ++place)
        move(rows_of, columns_of, list_[place], Draws(key_, place, epoch, first + i));
      for (int64_t k = 0; k < holes; ++k) {
        const size_t place = moves_ + static_cast<size_t>(k);
        boxes[i * holes + k] = hole(h_, w_, list_[place], Draws(key_, place, epoch, first + i));
      }
    }
  });
  return views;
}

void Augmenter::gather_moved(float* y, const uint8_t* x, const int64_t* rows, int64_t n, int64_t epoch,
                             int64_t first, const Normalization& normalization) const {
  const Views seen = views(n, epoch, first);
  ESP_RUN(Device::cpu, gather_views(y,
                                    {.x = x,
                                     .rows = rows,
                                     .down = seen.down.data<int32_t>(),
                                     .across = seen.across.data<int32_t>(),
                                     .holes = static_cast<const Box*>(seen.holes.raw()),
                                     .n = n,
                                     .h = h_,
                                     .w = w_,
                                     .c = c_,
                                     .holes_each = seen.holes_each},
                                    normalization.scale.data(), normalization.shift.data()));
}

/// What follows the leading moves, and normalisation, on floats of 0 to 255.
void Augmenter::change(float* pixels, float* spare, int64_t epoch, int64_t index) const {
  Image image{pixels, spare, h_, w_, c_};
  for (size_t place = moves_; place < pixels_; ++place) {
    const Augmentation& a = list_[place];
    const Draws draws(key_, place, epoch, index);
    if (moves(a)) move(image, a, draws);
    if (a.type == "cutout") cut_out(image, a, draws, normalization_);
    if (a.type == "random_resized_crop") crop_and_resize(image, a, draws);
    if (a.type == "color_jitter") jitter(image, a, draws);
  }
  for (int64_t i = 0; i < image.size(); i += c_)
    for (int64_t k = 0; k < c_; ++k)
      pixels[i + k] = image.pixels[i + k] * normalization_.scale[static_cast<size_t>(k)] +
                      normalization_.shift[static_cast<size_t>(k)];
}

float Augmenter::mix(float* y, int64_t n, int64_t epoch, int64_t first) const {
  Draws draws(key_, pixels_, epoch, first);
  const double alpha = list_[pixels_].alpha, a = draws.gamma(alpha), b = draws.gamma(alpha);
  // Both draws may round to 0 for a tiny alpha: only one image then, as in the distribution's limit.
  const auto share = static_cast<float>(a + b > 0 ? std::max(a, b) / (a + b) : 1.0);
  const int64_t size = h_ * w_ * c_;
  parallel_for(n / 2, std::max<int64_t>(1, 4096 / size), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float *one = y + i * size, *other = y + (n - 1 - i) * size;
      for (int64_t k = 0; k < size; ++k) {
        const float mine = one[k], yours = other[k];
        one[k] = share * mine + (1 - share) * yours;
        other[k] = share * yours + (1 - share) * mine;
      }
    }
  });
  return share;
}

}  // namespace espalier

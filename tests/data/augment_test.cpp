// Augmentations against naive ones. What was drawn is not asked for: it is looked for among all that could
// be.
#include "espalier/data/augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "espalier/data/loader.h"
#include "support/bad_input.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier {
namespace {

using List = std::vector<Augmentation>;
using Pixel = std::function<double(int64_t row, int64_t column, int64_t channel)>;

constexpr uint64_t seed = 11;

struct Images {
  int64_t n, h, w, c;
  std::vector<uint8_t> pixels;
  int64_t size() const { return h * w * c; }
  int at(int64_t i, int64_t row, int64_t column, int64_t channel) const {
    return pixels[static_cast<size_t>(i * size() + (row * w + column) * c + channel)];
  }
};

/// Pixels of 1 to 255: nothing is black by itself.
Images random_images(int64_t n, int64_t h, int64_t w, int64_t c) {
  Images images{n, h, w, c, {}};
  for (int64_t i = 0; i < n * h * w * c; ++i)
    images.pixels.push_back(static_cast<uint8_t>(1 + random_below(4, static_cast<uint64_t>(i), 255)));
  return images;
}

/// Image 0 .. n-1 of `images`, and from the first again, through `list`; pixels come out as 0 to 255.
Floats through(const List& list, const Images& images, int64_t n, int64_t epoch = 0,
               const Normalization* normalization = nullptr) {
  const auto c = static_cast<size_t>(images.c);
  const Normalization none{Floats(c, 1.0f), Floats(c, 0.0f)};
  const Augmenter augmenter(list, {images.h, images.w, images.c}, normalization ? *normalization : none,
                            seed);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < n; ++i) rows.push_back(i % images.n);
  Floats y(static_cast<size_t>(n * images.size()), -99.0f);
  augmenter.gather(y.data(), images.pixels.data(), rows.data(), n, epoch, 0);
  return y;
}

bool is(const float* y, const Images& images, const Pixel& expected) {
  for (int64_t row = 0; row < images.h; ++row)
    for (int64_t column = 0; column < images.w; ++column)
      for (int64_t k = 0; k < images.c; ++k)
        if (!(std::abs(*y++ - expected(row, column, k)) < 1e-3)) return false;
  return true;
}

/// The padded image in full, then a part of it.
double padded(const Images& images, int64_t i, int64_t row, int64_t column, int64_t k, bool reflect) {
  const auto inside = [&](int64_t at, int64_t size) {
    while (reflect && (at < 0 || at >= size)) at = at < 0 ? -at : 2 * (size - 1) - at;
    return at;
  };
  row = inside(row, images.h), column = inside(column, images.w);
  if (row < 0 || row >= images.h || column < 0 || column >= images.w) return 0;
  return images.at(i, row, column, k);
}

TEST(Augment, CropIsAPartOfThePaddedImageAndEveryPartComesUp) {
  for (const std::string fill : {"zero", "reflect"})
    for (const auto& [h, w, c] : {std::array<int64_t, 3>{5, 7, 3}, {4, 4, 1}, {6, 5, 2}}) {
      SCOPED_TRACE(testing::Message() << fill << " " << h << "x" << w << "x" << c);
      const Images images = random_images(3, h, w, c);
      const int64_t pad = 2, n = 600;
      const Floats y = through({{.type = "crop", .pad = pad, .fill = fill}}, images, n);
      std::set<std::pair<int64_t, int64_t>> seen;
      for (int64_t i = 0; i < n; ++i) {
        int found = 0;
        for (int64_t down = -pad; down <= pad; ++down)
          for (int64_t across = -pad; across <= pad; ++across)
            if (is(&y[static_cast<size_t>(i * images.size())], images,
                   [&](int64_t row, int64_t column, int64_t k) {
                     return padded(images, i % 3, row + down, column + across, k, fill == "reflect");
                   }))
              ++found, seen.emplace(down, across);
        ASSERT_EQ(found, 1) << "image " << i;
      }
      EXPECT_EQ(seen.size(), 25u);
    }
}

TEST(Augment, FlipMirrorsTheShareAskedFor) {
  for (const int64_t w : {1, 6, 7}) {
    const Images images = random_images(4, 3, w, 3);
    for (const double probability : {0.0, 0.25, 0.5, 1.0}) {
      const int64_t n = 2000;
      const Floats y = through({{.type = "flip", .probability = probability}}, images, n);
      int64_t mirrored = 0;
      for (int64_t i = 0; i < n; ++i) {
        const float* image = &y[static_cast<size_t>(i * images.size())];
        const auto same = [&](bool mirror) {
          return is(image, images, [&](int64_t row, int64_t column, int64_t k) {
            return images.at(i % 4, row, mirror ? w - 1 - column : column, k);
          });
        };
        ASSERT_TRUE(same(false) || same(true));
        mirrored += same(true);
      }
      const bool random = probability > 0 && probability < 1;
      EXPECT_TRUE(w == 1 || std::abs(static_cast<double>(mirrored) - probability * n) <= 100 * random)
          << mirrored << " at " << probability;
    }
  }
}

TEST(Augment, CutoutIsASquareOfTheMeanAroundAnyCentre) {
  const Normalization normalization{{2.0f, 0.5f}, {-100.0f, -25.0f}};  // means of 50
  for (const int64_t side : {1, 2, 3, 5}) {
    const Images images = random_images(2, 5, 4, 2);
    const int64_t n = 400;
    const Floats y = through({{.type = "cutout", .size = side}}, images, n, 0, &normalization);
    std::set<std::pair<int64_t, int64_t>> centres;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t row = 0; row < 5; ++row)
        for (int64_t column = 0; column < 4; ++column)
          if (is(&y[static_cast<size_t>(i * images.size())], images, [&](int64_t r, int64_t s, int64_t k) {
                const int64_t top = row - side / 2, left = column - side / 2;
                if (top <= r && r < top + side && left <= s && s < left + side) return 0.0;
                return images.at(i % 2, r, s, k) * (k ? 0.5 : 2.0) - (k ? 25.0 : 100.0);
              }))
            centres.emplace(i, row * 4 + column);
    std::set<int64_t> images_found, places;
    for (const auto& [image, place] : centres) images_found.insert(image), places.insert(place);
    EXPECT_EQ(images_found.size(), static_cast<size_t>(n)) << side;
    EXPECT_EQ(places.size(), 20u) << side;
  }
}

/// Channels 0 and 1 say where a pixel is from, channel 2 is a picture.
Images ramps(int64_t h, int64_t w) {
  Images images = random_images(1, h, w, 3);
  for (int64_t row = 0; row < h; ++row)
    for (int64_t column = 0; column < w; ++column) {
      images.pixels[static_cast<size_t>((row * w + column) * 3)] = static_cast<uint8_t>(8 * row);
      images.pixels[static_cast<size_t>((row * w + column) * 3 + 1)] = static_cast<uint8_t>(8 * column);
    }
  return images;
}

TEST(Augment, RandomResizedCropIsAPartResized) {
  const int64_t h = 20, w = 27, n = 500;
  const Images images = ramps(h, w);
  const std::vector<double> scale = {0.2, 0.9}, ratio = {0.5, 1.5};
  const Floats y = through({{.type = "random_resized_crop", .scale = scale, .ratio = ratio}}, images, n);
  std::set<std::array<int64_t, 4>> parts;
  for (int64_t i = 0; i < n; ++i) {
    const float* image = &y[static_cast<size_t>(i * images.size())];
    // At the ends of a ramp the part's own ends are met: half a pixel inside is clamped to its first and
    // last.
    const float* last = image + images.size() - 3;
    const int64_t top = std::lround(image[0] / 8), left = std::lround(image[1] / 8),
                  bottom = std::lround(last[0] / 8) + 1, right = std::lround(last[1] / 8) + 1;
    const auto height = static_cast<double>(bottom - top), width = static_cast<double>(right - left);
    EXPECT_GE((height + 0.5) * (width + 0.5), scale[0] * h * w);
    EXPECT_LE((height - 0.5) * (width - 0.5), scale[1] * h * w);
    EXPECT_GE((width + 0.5) / (height - 0.5), ratio[0]);
    EXPECT_LE((width - 0.5) / (height + 0.5), ratio[1]);
    parts.insert({top, left, bottom, right});
    ASSERT_TRUE(is(image, images,
                   [&](int64_t row, int64_t column, int64_t k) {
                     const double v = std::clamp((row + 0.5) * height / h - 0.5, 0.0, height - 1) + top,
                                  u = std::clamp((column + 0.5) * width / w - 0.5, 0.0, width - 1) + left;
                     double sum = 0;  // every pixel by its tent: bilinear, said differently
                     for (int64_t r = top; r < bottom; ++r)
                       for (int64_t s = left; s < right; ++s)
                         sum += images.at(0, r, s, k) * std::max(0.0, 1 - std::abs(v - r)) *
                                std::max(0.0, 1 - std::abs(u - s));
                     return sum;
                   }))
        << "image " << i;
  }
  EXPECT_GT(parts.size(), 300u);
  // Only whole images have this area and form; parts of no possible form end as the largest in the middle.
  EXPECT_EQ(through({{.type = "random_resized_crop", .scale = {1, 1}, .ratio = {1.35, 1.35}}}, images, 1),
            Floats(images.pixels.begin(), images.pixels.end()));
  const Floats thin =
      through({{.type = "random_resized_crop", .scale = {1, 1}, .ratio = {0.1, 0.1}}}, images, 1);
  for (size_t i = 0; i < thin.size(); i += 3)
    EXPECT_NEAR(thin[i + 1], 8 * 13, 8);  // 2 of 27 columns, the middle ones
}

double grey(double r, double g, double b) { return 0.299 * r + 0.587 * g + 0.114 * b; }

TEST(Augment, ColorJitterFollowsTorchvision) {
  const Images images = random_images(1, 6, 5, 3);
  const int64_t n = 300;
  const auto jitter = [&](double brightness, double contrast, double saturation) {
    return through(
        {{.type = "color_jitter", .brightness = brightness, .contrast = contrast, .saturation = saturation}},
        images, n);
  };
  const auto clamped = [](double v) { return std::clamp(v, 0.0, 255.0); };
  using Formula = std::function<void(Doubles&, double)>;
  const Formula brighten = [&](Doubles& v, double f) {
    for (double& each : v) each = clamped(each * f);
  };
  const Formula contrast = [&](Doubles& v, double f) {
    double mean = 0;
    for (size_t i = 0; i < v.size(); i += 3)
      mean += grey(v[i], v[i + 1], v[i + 2]) / (static_cast<double>(v.size()) / 3);
    for (double& each : v) each = clamped(f * each + (1 - f) * mean);
  };
  const Formula saturate = [&](Doubles& v, double f) {
    for (size_t i = 0; i < v.size(); i += 3) {
      const double own = grey(v[i], v[i + 1], v[i + 2]);
      for (size_t k = i; k < i + 3; ++k) v[k] = clamped(f * v[k] + (1 - f) * own);
    }
  };
  // Each factor is looked for in what it does by itself.
  const auto factors = [&](const Floats& y, const Formula& formula, double amount) {
    Doubles found;
    for (int64_t i = 0; i < n; ++i) {
      const std::span<const float> image(&y[static_cast<size_t>(i * images.size())],
                                         static_cast<size_t>(images.size()));
      const auto error = [&](double f) {
        Doubles v(images.pixels.begin(), images.pixels.end());
        formula(v, f);
        double sum = 0;
        for (size_t k = 0; k < v.size(); ++k) sum += std::abs(v[k] - image[k]);
        return sum;
      };
      double low = 1 - amount, high = 1 + amount;  // the error has one valley
      for (int turn = 0; turn < 60; ++turn) {
        const double a = low + (high - low) / 3, b = high - (high - low) / 3;
        (error(a) < error(b) ? high : low) = error(a) < error(b) ? b : a;
      }
      EXPECT_LT(error(low), 0.1) << "image " << i;
      found.push_back(low);
    }
    const auto [lowest, highest] = std::ranges::minmax(found);
    EXPECT_LT(lowest, 1 - 0.95 * amount);
    EXPECT_GT(highest, 1 + 0.95 * amount);
    return found;
  };
  const auto b = factors(jitter(0.9, 0, 0), brighten, 0.9), c = factors(jitter(0, 0.6, 0), contrast, 0.6),
             s = factors(jitter(0, 0, 0.8), saturate, 0.8);
  const Floats all = jitter(0.9, 0.6, 0.8);
  for (int64_t i = 0; i < n; ++i) {
    Doubles v(images.pixels.begin(), images.pixels.end());
    const auto at = static_cast<size_t>(i);
    brighten(v, b[at]), contrast(v, c[at]), saturate(v, s[at]);
    const std::span<const float> image(&all[at * v.size()], v.size());
    ASSERT_TRUE(near(image, v, 1e-4)) << "image " << i;
  }
}

TEST(Augment, JitterOfOneChannelKnowsNoColour) {
  const Images images = random_images(1, 4, 4, 1);
  const Floats y = through({{.type = "color_jitter", .contrast = 0.5}}, images, 1);
  double before = 0, after = 0;
  for (size_t i = 0; i < y.size(); ++i) before += images.pixels[i], after += y[i];
  EXPECT_FALSE(near(y, Doubles(images.pixels.begin(), images.pixels.end()), 1e-3));
  EXPECT_NEAR(before / 16, after / 16, 8);
}

// A jitter that changes nothing sends the same list through the other path: floats, one entry at a time.
TEST(Augment, BothPathsAgree) {
  const Normalization normalization{{0.02f, 0.015f, 0.03f}, {-2.0f, -1.5f, -1.0f}};
  const Images images = random_images(20, 9, 8, 3);
  const Augmentation crop{.type = "crop", .pad = 3}, mirrored{.type = "crop", .pad = 2, .fill = "reflect"},
      flip{.type = "flip"}, cutout{.type = "cutout", .size = 4}, nothing{.type = "color_jitter"};
  for (const List& list :
       {List{crop}, {flip}, {crop, flip}, {flip, crop, cutout}, {crop, mirrored, flip, cutout, cutout}}) {
    List longer = list;
    longer.push_back(nothing);
    const Floats fast = through(list, images, 40, 3, &normalization),
                 slow = through(longer, images, 40, 3, &normalization);
    EXPECT_TRUE(near(slow, doubles(fast), 1e-5)) << list.size();
    EXPECT_EQ(fast, through(list, images, 40, 3, &normalization));
  }
}

TEST(Augment, TheListIsFollowedInItsOrder) {
  const Images images = random_images(1, 6, 6, 1);
  const Normalization normalization{{1.0f}, {-50.0f}};
  const Augmentation crop{.type = "crop", .pad = 3}, cutout{.type = "cutout", .size = 5};
  /// In how many images a row of the padding, black, has a hole in it.
  const auto holed_padding = [&](const List& list) {
    const Floats y = through(list, images, 200, 0, &normalization);
    int count = 0;
    for (int64_t row = 0; row < 200 * 6; ++row) {
      const auto begin = y.begin() + row * 6, end = begin + 6;
      count += std::all_of(begin, end, [](float v) { return v == -50 || v == 0; }) &&
               std::count(begin, end, -50) > 0 && std::count(begin, end, 0) > 0 && row % 6 == 0;
    }
    return count;
  };
  EXPECT_GT(holed_padding({crop, cutout}), 20);
  // A hole that moves with the image leaves a row of the padding as it is; 5 of 6 columns may be hole and
  // black.
  const Floats y = through({cutout, crop}, images, 200, 0, &normalization);
  for (int64_t i = 0; i < 200; ++i) {
    const float* image = &y[static_cast<size_t>(i * 36)];
    const bool black = std::all_of(image, image + 6, [](float v) { return v == -50; });
    const bool any = std::any_of(image, image + 6, [](float v) { return v == -50; });
    if (any && !black) {  // then the black part is the padding beside: whole columns of it
      for (int64_t column = 0; column < 6; ++column)
        if (image[column] == -50) {
          for (int64_t row = 0; row < 6; ++row) EXPECT_EQ(image[row * 6 + column], -50.0f) << i;
        }
    }
  }
}

const List everything = {{.type = "crop", .pad = 2, .fill = "reflect"},
                         {.type = "flip"},
                         {.type = "cutout", .size = 3},
                         {.type = "random_resized_crop"},
                         {.type = "flip"},
                         {.type = "color_jitter", .brightness = 0.4, .contrast = 0.4, .saturation = 0.4},
                         {.type = "mixup", .alpha = 0.5}};

Dataset dataset_of(const Images& images) {
  Dataset data{.name = "random",
               .images = Tensor::from<uint8_t>({images.n, images.h, images.w, images.c}, images.pixels),
               .labels = {},
               .class_names = {}};
  for (int64_t i = 0; i < images.n; ++i) data.labels.push_back(static_cast<int32_t>(i));
  data.class_names.resize(static_cast<size_t>(images.n), "x");
  return data;
}

Floats epoch_of(Loader& loader, int64_t epoch, int64_t from = 0) {
  loader.start_epoch(epoch);
  loader.seek(from);
  Floats all;
  for (Batch batch; loader.next(batch);)
    std::ranges::copy(batch.images.span<float>(), std::back_inserter(all));
  return all;
}

TEST(Augment, SameBitsForAnyNumberOfThreadsAndFromAnyBatch) {
  const Dataset data = dataset_of(random_images(70, 13, 11, 3));
  const List one_pass = {{.type = "crop", .pad = 4}, {.type = "flip"}, {.type = "cutout", .size = 5}};
  for (const List& list : {one_pass, everything}) {
    const LoaderOptions options{
        .batch = 16, .seed = 5, .mean = {0.5, 0.4, 0.3}, .std = {0.2, 0.2, 0.3}, .augment = list};
    Loader loader(data, options), again(data, options);
    Floats expected;
    {
      const WithThreads one(1);
      expected = epoch_of(loader, 2);
    }
    for (const int count : {2, 3, 5}) {
      const WithThreads several(count);
      EXPECT_TRUE(same_bits(epoch_of(loader, 2), expected)) << count << " threads";
    }
    const size_t before = static_cast<size_t>(3 * 16 * 13 * 11 * 3);
    EXPECT_TRUE(same_bits(epoch_of(again, 2, 3), Floats(expected.begin() + before, expected.end())));
    EXPECT_FALSE(same_bits(epoch_of(again, 3), expected));
    LoaderOptions other = options;
    other.seed = 6, other.shuffle = false;
    LoaderOptions same_order = options;
    same_order.shuffle = false;
    Loader a(data, other), b(data, same_order);
    EXPECT_FALSE(same_bits(epoch_of(a, 0), epoch_of(b, 0))) << "the seed changes nothing";
    EXPECT_FALSE(same_bits(epoch_of(b, 1), epoch_of(b, 0))) << "the epoch changes nothing";
  }
}

TEST(Augment, WhatHappensToAnImageIsFreeOfTheBatchItIsIn) {
  const Dataset data = dataset_of(random_images(50, 8, 8, 3));
  const List list(everything.begin(), everything.end() - 1);
  Loader small(data, {.batch = 7, .seed = 5, .augment = list}),
      large(data, {.batch = 50, .seed = 5, .augment = list});
  EXPECT_TRUE(same_bits(epoch_of(small, 1), epoch_of(large, 1)));
}

TEST(Augment, EachEntryDrawsAnewInEachEpochAndPlace) {
  const Images images = random_images(40, 8, 8, 3);
  for (size_t i = 0; i + 1 < everything.size(); ++i) {
    const List alone = {everything[i]}, behind = {{.type = "flip", .probability = 0}, everything[i]};
    EXPECT_FALSE(same_bits(through(alone, images, 40, 0), through(alone, images, 40, 1))) << i;
    EXPECT_FALSE(same_bits(through(alone, images, 40), through(behind, images, 40))) << i;
  }
}

TEST(Augment, MixupMixesImagesAndLabelsBySharesOfBeta) {
  const Images images = random_images(7, 3, 4, 3);
  const Dataset data = dataset_of(images);
  // E[max(s, 1-s)]: uniform 3/4; Beta(2,2) 11/16; the arcsine law 1/2 + 1/pi
  for (const auto& [alpha, mean] : {std::pair{1.0, 0.75}, {2.0, 0.6875}, {0.5, 0.5 + 1 / std::acos(-1.0)}}) {
    Loader loader(data,
                  {.batch = 7, .shuffle = false, .seed = 1, .augment = {{.type = "mixup", .alpha = alpha}}});
    double sum = 0;
    for (int64_t epoch = 0; epoch < 2000; ++epoch) {
      loader.start_epoch(epoch);
      Batch batch;
      ASSERT_TRUE(loader.next(batch));
      ASSERT_GE(batch.share, 0.5f);
      ASSERT_LE(batch.share, 1.0f);
      sum += static_cast<double>(batch.share);
      if (epoch > 3) continue;
      for (int64_t i = 0; i < 7; ++i) {
        EXPECT_EQ(batch.labels.span<int32_t>()[static_cast<size_t>(i)], i);
        EXPECT_EQ(batch.other_labels.span<int32_t>()[static_cast<size_t>(i)], 6 - i);
        for (int64_t k = 0; k < images.size(); ++k)
          EXPECT_NEAR(batch.images.f32()[i * images.size() + k],
                      (batch.share * images.pixels[static_cast<size_t>(i * images.size() + k)] +
                       (1 - batch.share) * images.pixels[static_cast<size_t>((6 - i) * images.size() + k)]) /
                          255,
                      1e-6);
      }
    }
    EXPECT_NEAR(sum / 2000, mean, 0.01) << "alpha " << alpha;
  }
}

TEST(Augment, RefusesWhatDoesNotFit) {
  const auto message = [](const List& list) {
    const Normalization one{{1.0f}, {0.0f}};
    EXPECT_THROW(Augmenter(list, {5, 4, 1}, one, 0), UsageError);
    return message_of([&] { Augmenter(list, {5, 4, 1}, one, 0); });
  };
  EXPECT_EQ(message({{.type = "flip"}, {.type = "crop", .pad = 4, .fill = "reflect"}}),
            "/data/augment/1/pad: found 4, but images [5, 4, 1] reflect at most 3");
  EXPECT_EQ(message({{.type = "cutout", .size = 6}}),
            "/data/augment/0/size: found 6, but images are [5, 4, 1]");
  EXPECT_EQ(message({{.type = "color_jitter", .saturation = 0.1}}),
            "/data/augment/0/saturation: is for images of 3 channels, these are [5, 4, 1]");
  EXPECT_EQ(message({{.type = "mixup", .alpha = 1}, {.type = "flip"}}),
            "/data/augment/0/type: mixup mixes finished images, so it is the last of its list");
}

}  // namespace
}  // namespace espalier

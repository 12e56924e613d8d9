// Synthetic digits: the same bits for a seed, of any size, and digits that can be told apart.
#include "espalier/data/synthetic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "support/bad_input.h"
#include "support/threads.h"

namespace espalier {
namespace {

bool equal(const Dataset& a, const Dataset& b) {
  return a.labels == b.labels && std::ranges::equal(a.images.span<uint8_t>(), b.images.span<uint8_t>());
}

TEST(Synthetic, Defaults) {
  const DataSplits data = draw_synthetic();
  EXPECT_EQ(data.train.images.shape(), Shape({8000, 28, 28, 1}));
  EXPECT_EQ(data.test.images.shape(), Shape({2000, 28, 28, 1}));
  EXPECT_EQ(data.validation.size(), 0);
  EXPECT_EQ(data.train.classes(), 10);
  for (int32_t digit = 0; digit < 10; ++digit)
    EXPECT_NEAR(std::ranges::count(data.train.labels, digit), 800, 120);
}

/// Runs of before would else not go on to the same bits, and recorded figures not come out again.
TEST(Synthetic, IsDrawnAsEver) {
  const DataSplits gray = draw_synthetic();
  const DataSplits colored =
      draw_synthetic({.train = 100, .test = 10, .height = 21, .width = 35, .channels = 3, .classes = 100});
  const auto hash = [](const DataSplits& data) {  // FNV-1a
    uint64_t bits = 0xCBF29CE484222325;
    for (const Dataset* part : {&data.train, &data.test})
      for (const uint8_t pixel : part->images.span<uint8_t>()) bits = (bits ^ pixel) * 0x100000001B3;
    return bits;
  };
  EXPECT_EQ(hash(gray), 0x66AE2268AF802F50);
  EXPECT_EQ(hash(colored), 0xCEF264F9AE31154C);
}

TEST(Synthetic, DependsOnSeedSplitAndImageAlone) {
  const auto draw = [](int threads, const SyntheticOptions& options) {
    const WithThreads with(threads);
    return draw_synthetic(options);
  };
  const DataSplits small = draw(1, {.train = 300, .test = 300, .seed = 4});
  const DataSplits again = draw(3, {.train = 300, .test = 300, .seed = 4});
  const DataSplits large = draw(2, {.train = 500, .test = 300, .seed = 4});
  EXPECT_TRUE(equal(small.train, again.train));
  EXPECT_TRUE(equal(small.test, large.test));
  EXPECT_TRUE(std::ranges::equal(small.train.images.span<uint8_t>(),
                                 large.train.images.span<uint8_t>().first(300 * 784)));
  EXPECT_FALSE(equal(small.train, small.test));
  EXPECT_FALSE(equal(small.train, draw_synthetic({.train = 300, .test = 300, .seed = 5}).train));
}

/// How many test images lie nearest, by squared distance, to the mean training image of their own class.
double nearest_mean_accuracy(const DataSplits& data) {
  const int64_t pixels = data.train.images.shape().row_elements(), classes = data.train.classes();
  std::vector<double> mean(static_cast<size_t>(classes * pixels));
  for (int64_t i = 0; i < data.train.size(); ++i) {
    const int32_t label = data.train.labels[i];
    const auto count = static_cast<double>(std::ranges::count(data.train.labels, label));
    for (int64_t p = 0; p < pixels; ++p)
      mean[label * pixels + p] += data.train.images.data<uint8_t>()[i * pixels + p] / count;
  }
  int64_t right = 0;
  for (int64_t i = 0; i < data.test.size(); ++i) {
    std::vector<double> distances;
    for (int64_t c = 0; c < classes; ++c) {
      double distance = 0;
      for (int64_t p = 0; p < pixels; ++p) {
        const double difference = mean[c * pixels + p] - data.test.images.data<uint8_t>()[i * pixels + p];
        distance += difference * difference;
      }
      distances.push_back(distance);
    }
    right += std::ranges::min_element(distances) - distances.begin() == data.test.labels[i];
  }
  return static_cast<double>(right) / static_cast<double>(data.test.size());
}

TEST(Synthetic, DigitsCanBeToldApartButNotTrivially) {
  const double accuracy = nearest_mean_accuracy(draw_synthetic({.train = 1000, .test = 500}));
  EXPECT_GT(accuracy, 0.6);
  EXPECT_LT(accuracy, 0.95);
}

TEST(Synthetic, OtherSizesChannelsAndClasses) {
  const DataSplits data =
      draw_synthetic({.train = 600, .test = 200, .height = 32, .width = 48, .channels = 3, .classes = 4});
  EXPECT_EQ(data.train.images.shape(), Shape({600, 32, 48, 3}));
  EXPECT_EQ(data.train.class_names, (std::vector<std::string>{"0", "1", "2", "3"}));
  EXPECT_EQ(*std::ranges::max_element(data.train.labels), 3);
  EXPECT_GT(nearest_mean_accuracy(data), 0.5);
  const uint8_t* pixels = data.train.images.data<uint8_t>();
  int64_t gray = 0;
  for (int64_t i = 0; i < 600 * 32 * 48; ++i) gray += pixels[3 * i] == pixels[3 * i + 1];
  EXPECT_LT(gray, 600 * 32 * 48 / 10) << "the channels are copies of each other";
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{8, 8}, {8, 64}, {100, 9}})
    EXPECT_EQ(draw_synthetic({.train = 5, .test = 5, .height = height, .width = width}).train.height(),
              height);
}

TEST(Synthetic, NumbersOfSeveralDigits) {
  const SyntheticOptions options{
      .train = 4000, .test = 500, .height = 16, .width = 32, .channels = 1, .classes = 40};
  const DataSplits data = draw_synthetic(options);
  EXPECT_EQ(data.train.class_names.back(), "39");
  EXPECT_EQ(*std::ranges::max_element(data.train.labels), 39);
  EXPECT_GT(nearest_mean_accuracy(data), 0.3) << "of 40";
}

TEST(Synthetic, MostOfTheInkIsInsideTheImage) {
  const DataSplits data = draw_synthetic({.train = 500, .test = 1});
  int64_t edge = 0, inside = 0;
  for (int64_t i = 0; i < 500; ++i)
    for (int64_t y = 0; y < 28; ++y)
      for (int64_t x = 0; x < 28; ++x)
        if (data.train.images.data<uint8_t>()[(i * 28 + y) * 28 + x] > 80)
          ++(y == 0 || y == 27 || x == 0 || x == 27 ? edge : inside);
  EXPECT_GT(inside, 500 * 50);
  EXPECT_LT(edge, inside / 200);
}

TEST(Synthetic, RefusesOtherOptions) {
  const auto message = [](const SyntheticOptions& options) {
    EXPECT_THROW(draw_synthetic(options), UsageError);
    return message_of([&] { draw_synthetic(options); });
  };
  EXPECT_EQ(message({.train = 0}), "synthetic: train: found 0, expected 1 to 10000000");
  EXPECT_EQ(message({.test = -1}), "synthetic: test: found -1, expected 1 to 10000000");
  EXPECT_EQ(message({.height = 7}), "synthetic: height: found 7, expected 8 to 1024");
  EXPECT_EQ(message({.width = 2000}), "synthetic: width: found 2000, expected 8 to 1024");
  EXPECT_EQ(message({.channels = 17}), "synthetic: channels: found 17, expected 1 to 16");
  EXPECT_EQ(message({.classes = 1}), "synthetic: classes: found 1, expected 2 to 10000");
  EXPECT_EQ(message({.classes = 10'001}), "synthetic: classes: found 10001, expected 2 to 10000");
  EXPECT_EQ(message({.width = 20, .classes = 1000}), "synthetic: width: found 20, expected 24 to 1024");
}

}  // namespace
}  // namespace espalier

// The loader: what is in which batch, whatever the threads; pixels normalised by hand.
#include "espalier/data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "support/bad_input.h"
#include "support/threads.h"

namespace espalier {
namespace {

/// n images of h x w x c, pixel p of image i being (31 i + p) % 256, its label i.
Dataset numbered(int64_t n, int64_t h = 1, int64_t w = 1, int64_t c = 1) {
  Dataset dataset{
      "numbered", Tensor::empty({n, h, w, c}, DType::u8), {}, std::vector<std::string>(n, "class")};
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t p = 0; p < h * w * c; ++p)
      dataset.images.data<uint8_t>()[i * h * w * c + p] = static_cast<uint8_t>(31 * i + p);
    dataset.labels.push_back(static_cast<int32_t>(i));
  }
  return dataset;
}

std::vector<int32_t> labels(const Batch& batch) {
  const auto span = batch.labels.span<int32_t>();
  return {span.begin(), span.end()};
}

std::vector<int32_t> rest_of_epoch(Loader& loader) {
  std::vector<int32_t> all;
  Batch batch;
  while (loader.next(batch)) std::ranges::copy(labels(batch), std::back_inserter(all));
  return all;
}

std::vector<int32_t> epoch(Loader& loader, int64_t number) {
  loader.start_epoch(number);
  return rest_of_epoch(loader);
}

TEST(Loader, KeepsTheLastShortBatch) {
  const Dataset dataset = numbered(10, 2, 3, 1);
  Loader loader(dataset, {.batch = 4, .shuffle = false});
  EXPECT_EQ(loader.batches(), 3);
  Batch batch;
  for (const std::vector<int32_t>& expected : {std::vector<int32_t>{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9}}) {
    ASSERT_TRUE(loader.next(batch));
    EXPECT_EQ(labels(batch), expected);
    EXPECT_EQ(batch.size, static_cast<int64_t>(expected.size()));
    EXPECT_EQ(batch.images.shape(), Shape({batch.size, 2, 3, 1}));
  }
  EXPECT_FALSE(loader.next(batch));
  EXPECT_FALSE(loader.next(batch));
  const Dataset even = numbered(8);
  EXPECT_EQ(Loader(even, {.batch = 4}).batches(), 2);
  EXPECT_EQ(Loader(even, {.batch = 8}).batches(), 1);
}

TEST(Loader, DropsTheLastShortBatchIfAsked) {
  const Dataset dataset = numbered(10);
  Loader loader(dataset, {.batch = 4, .drop_last = true, .seed = 3});
  Loader whole(dataset, {.batch = 4, .seed = 3});
  EXPECT_EQ(loader.batches(), 2);
  EXPECT_EQ(loader.least_batch(), 4);
  EXPECT_EQ(whole.least_batch(), 2);
  EXPECT_EQ(loader.images_ahead(1), 4);
  EXPECT_EQ(loader.images_ahead(3), 8);
  auto kept = rest_of_epoch(whole);
  kept.resize(8);
  EXPECT_EQ(rest_of_epoch(loader), kept);
  EXPECT_EQ(loader.images_ahead(1), 0);
  const Dataset even = numbered(8);
  EXPECT_EQ(Loader(even, {.batch = 4, .drop_last = true}).batches(), 2);
  EXPECT_EQ(Loader(even, {.batch = 4}).least_batch(), 4);
}

TEST(Loader, ABatchOfMoreThanThereAreIsAll) {
  const Dataset dataset = numbered(10);
  for (const bool drop_last : {false, true}) {
    Loader loader(dataset, {.batch = 64, .shuffle = false, .drop_last = drop_last});
    EXPECT_EQ(loader.batch(), 10);
    EXPECT_EQ(loader.batches(), 1);
    Batch batch;
    ASSERT_TRUE(loader.next(batch));
    EXPECT_EQ(batch.size, 10);
    EXPECT_FALSE(loader.next(batch));
  }
}

TEST(Loader, ShufflesBySeedAndEpoch) {
  const Dataset dataset = numbered(1000);
  Loader loader(dataset, {.batch = 64, .seed = 7});
  const auto first = epoch(loader, 0), second = epoch(loader, 1);
  EXPECT_EQ(std::set(first.begin(), first.end()).size(), 1000u);
  EXPECT_EQ(std::set(second.begin(), second.end()).size(), 1000u);
  EXPECT_FALSE(std::ranges::is_sorted(first));
  EXPECT_NE(first, second);
  EXPECT_EQ(epoch(loader, 0), first) << "an epoch's order depends on those before it";
  Loader same(dataset, {.batch = 10, .seed = 7}), other(dataset, {.batch = 64, .seed = 8});
  EXPECT_EQ(epoch(same, 1), second);
  EXPECT_NE(epoch(other, 0), first);
}

TEST(Loader, StartsAtEpochZero) {
  const Dataset dataset = numbered(50);
  Loader fresh(dataset, {.batch = 8}), started(dataset, {.batch = 8});
  EXPECT_EQ(rest_of_epoch(fresh), epoch(started, 0));
}

TEST(Loader, ImagesGoWithTheirLabels) {
  const Dataset dataset = numbered(200, 5, 3, 3);
  Loader loader(dataset, {.batch = 32});
  Batch batch;
  while (loader.next(batch))
    for (int64_t i = 0; i < batch.size; ++i)
      for (int64_t p = 0; p < 45; ++p)
        ASSERT_FLOAT_EQ(batch.images.f32()[45 * i + p],
                        static_cast<float>(static_cast<uint8_t>(31 * labels(batch)[i] + p)) / 255.0f);
}

TEST(Loader, SameBitsForAnyNumberOfThreads) {
  const Dataset dataset = numbered(300, 28, 28, 1);
  const auto read = [&](int threads_now) {
    const WithThreads with(threads_now);
    Loader loader(dataset, {.batch = 128, .seed = 3, .mean = {0.13}, .std = {0.31}});
    std::vector<float> pixels;
    Batch batch;
    while (loader.next(batch)) std::ranges::copy(batch.images.span<float>(), std::back_inserter(pixels));
    return pixels;
  };
  const auto one = read(1);
  EXPECT_EQ(read(2), one);
  EXPECT_EQ(read(3), one);
}

TEST(Loader, SeekEqualsStepping) {
  const Dataset dataset = numbered(100);
  Loader stepped(dataset, {.batch = 16, .seed = 2}), sought(dataset, {.batch = 16, .seed = 2});
  stepped.start_epoch(5);
  Batch a, b;
  for (int64_t index = 0; stepped.next(a); ++index) {
    sought.start_epoch(5);
    sought.seek(index);
    ASSERT_TRUE(sought.next(b));
    EXPECT_EQ(labels(a), labels(b));
  }
  sought.seek(sought.batches());
  EXPECT_FALSE(sought.next(b));
  sought.seek(0);
  EXPECT_TRUE(sought.next(b));
  for (int64_t index : {-1, 8})
    EXPECT_TRUE(contains(message_of([&] { sought.seek(index); }), "an epoch of numbered has 7"));
}

TEST(Loader, NormalisesEachChannel) {
  Dataset dataset{"pixels", Tensor::from<uint8_t>({2, 1, 1, 2}, {0, 255, 51, 102}), {0, 1}, {"a", "b"}};
  Loader loader(dataset, {.batch = 2, .shuffle = false, .mean = {0.5, 0.2}, .std = {0.25, 0.5}});
  Batch batch;
  ASSERT_TRUE(loader.next(batch));
  const float expected[] = {-2.0f, 1.6f, -1.2f, 0.4f};  // (0-.5)/.25, (1-.2)/.5, (.2-.5)/.25, (.4-.2)/.5
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(batch.images.f32()[i], expected[i], 1e-6) << i;
  Loader plain(dataset, {.batch = 2, .shuffle = false});
  ASSERT_TRUE(plain.next(batch));
  const float unit[] = {0.0f, 1.0f, 0.2f, 0.4f};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(batch.images.f32()[i], unit[i], 1e-7) << i;
}

TEST(Loader, ReusesABatchsMemoryOnlyIfNobodyHoldsIt) {
  const Dataset dataset = numbered(100, 8, 8, 1);
  Loader loader(dataset, {.batch = 10, .shuffle = false});
  Batch batch;
  ASSERT_TRUE(loader.next(batch));
  const void* first = batch.images.raw();
  ASSERT_TRUE(loader.next(batch));
  EXPECT_EQ(batch.images.raw(), first);
  const Tensor kept = batch.images;
  const float pixel = kept.f32()[0];
  ASSERT_TRUE(loader.next(batch));
  EXPECT_NE(batch.images.raw(), kept.raw());
  EXPECT_EQ(kept.f32()[0], pixel);
}

TEST(Loader, ReadsInPlaceWhoeverHoldsIt) {
  const Dataset dataset = numbered(10);
  Loader loader(dataset, {.batch = 4, .shuffle = false});
  Batch batch;
  ASSERT_TRUE(loader.next(batch, true));
  const Batch held = batch;
  ASSERT_TRUE(loader.next(batch, true));
  EXPECT_TRUE(batch.images.shares(held.images));
  EXPECT_EQ(labels(held), (std::vector<int32_t>{4, 5, 6, 7}));
  EXPECT_FLOAT_EQ(held.images.f32()[0], 31 * 4 / 255.0f);
  EXPECT_EQ(message_of([&] { loader.next(batch, true); }),  // the last, of two images
            "loader: a batch of shape [2, 1, 1, 1] in memory of [4, 1, 1, 1]");
}

TEST(Loader, RefusesWhatDoesNotFit) {
  const Dataset dataset = numbered(10, 1, 1, 3);
  const auto message = [&](const LoaderOptions& options) {
    EXPECT_THROW(Loader(dataset, options), UsageError);
    return message_of([&] { Loader(dataset, options); });
  };
  EXPECT_EQ(message({.batch = 0}), "/data/batch: found 0, expected 1 or more");
  EXPECT_EQ(message({.batch = 1, .mean = {0.5}}),
            "/data/normalize/mean: 1 numbers, but numbered has 3 channels");
  EXPECT_EQ(message({.batch = 1, .std = {1, 1, 1, 1}}),
            "/data/normalize/std: 4 numbers, but numbered has 3 channels");
  EXPECT_EQ(message({.batch = 1, .std = {1, 0, 1}}),
            "/data/normalize/std: found 0, expected a number above 0");
  EXPECT_EQ(message({.batch = 1, .std = {1, 1, -2}}),
            "/data/normalize/std: found -2, expected a number above 0");
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(message({.batch = 1, .mean = {0, infinity, 0}}),
            "/data/normalize/mean: found inf, expected a finite number");
  EXPECT_EQ(message({.batch = 1, .std = {1, std::nan(""), 1}}),
            "/data/normalize/std: found nan, expected a finite number");
  Dataset torn = numbered(10);
  torn.labels.pop_back();
  EXPECT_TRUE(contains(message_of([&] { Loader(torn, {.batch = 1}); }),
                       "numbered: 9 labels for images [10, 1, 1, 1]"));
  const Dataset none;
  EXPECT_THROW(Loader(none, {.batch = 1}), Error);
}

}  // namespace
}  // namespace espalier

// Parts of a data set: subset and the held-out share.
#include "espalier/data/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/bad_input.h"

namespace espalier {
namespace {

/// n images of 1 x 1 x 2 whose pixels are (i, i + 100) and whose label is i % 3.
Dataset counting(int64_t n) {
  Dataset dataset{"numbered", Tensor::empty({n, 1, 1, 2}, DType::u8), {}, {"a", "b", "c"}};
  for (int64_t i = 0; i < n; ++i) {
    dataset.images.data<uint8_t>()[2 * i] = static_cast<uint8_t>(i);
    dataset.images.data<uint8_t>()[2 * i + 1] = static_cast<uint8_t>(i + 100);
    dataset.labels.push_back(static_cast<int32_t>(i % 3));
  }
  return dataset;
}

/// The numbers of the images of a part of `counting`, after a check that nothing was torn apart.
std::vector<int64_t> numbers(const Dataset& part) {
  std::vector<int64_t> result;
  for (int64_t i = 0; i < part.size(); ++i) {
    const uint8_t* pixels = part.images.data<uint8_t>() + 2 * i;
    EXPECT_EQ(pixels[1], pixels[0] + 100);
    EXPECT_EQ(part.labels[i], pixels[0] % 3);
    result.push_back(pixels[0]);
  }
  return result;
}

TEST(Subset, CopiesRowsInOrder) {
  const Dataset from = counting(5);
  const std::vector<int64_t> rows = {4, 0, 4};
  const Dataset part = subset(from, rows, "part");
  EXPECT_EQ(part.name, "part");
  EXPECT_EQ(part.images.shape(), Shape({3, 1, 1, 2}));
  EXPECT_EQ(part.class_names, from.class_names);
  EXPECT_EQ(numbers(part), rows);
  EXPECT_TRUE(
      contains(message_of([&] { subset(from, std::vector<int64_t>{5}, "part"); }), "numbered: no image 5"));
}

TEST(HoldOut, MovesAShareOnce) {
  DataSplits data{counting(100), {}, counting(7)};
  hold_out(data, 0.126, 5);
  const std::vector<int64_t> train = numbers(data.train), held = numbers(data.validation);
  EXPECT_EQ(held.size(), 13u);
  EXPECT_TRUE(std::ranges::is_sorted(train));
  EXPECT_TRUE(std::ranges::is_sorted(held));
  EXPECT_NE(held.front() + 12, held.back()) << "held out in one piece, not at random";
  std::vector<int64_t> all, expected(100);
  std::iota(expected.begin(), expected.end(), 0);
  std::ranges::merge(train, held, std::back_inserter(all));
  EXPECT_EQ(all, expected);
  EXPECT_EQ(data.test.size(), 7);
}

TEST(HoldOut, DependsOnTheSeedAlone) {
  const auto held = [](uint64_t seed) {
    DataSplits data{counting(100), {}, {}};
    hold_out(data, 0.2, seed);
    return numbers(data.validation);
  };
  EXPECT_EQ(held(1), held(1));
  EXPECT_NE(held(1), held(2));
}

TEST(HoldOut, LeavesAtLeastOneOnEachSide) {
  for (const auto& [share, held] : {std::pair{1e-9, 1}, {0.5, 1}, {0.999, 2}, {0.0, 0}}) {
    DataSplits data{counting(3), {}, {}};
    hold_out(data, share, 0);
    EXPECT_EQ(data.validation.size(), share == 0.5 ? 2 : held) << share;
    EXPECT_EQ(data.train.size() + data.validation.size(), 3);
  }
}

TEST(HoldOut, RefusesOtherShares) {
  for (double share : {-0.1, 1.0, 1.5, std::nan("")}) {
    DataSplits data{counting(3), {}, {}};
    EXPECT_THROW(hold_out(data, share, 0), UsageError) << share;
  }
  DataSplits data{counting(1), {}, {}};
  EXPECT_TRUE(contains(message_of([&] { hold_out(data, 0.5, 0); }), "numbered has 1 images"));
  EXPECT_NO_THROW(hold_out(data, 0, 0));
}

}  // namespace
}  // namespace espalier

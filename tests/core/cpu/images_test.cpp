#include <gtest/gtest.h>

#include "espalier/core/kernels.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier::images_test {
namespace {

TEST(GatherImages, PicksRowsAndNormalises) {
  const WithThreads three(3);
  for (const int64_t channels : {1, 3, 4, 5, 16, 17, 20})
    for (const int64_t pixels : {1, 7, 49, 784}) {
      const int64_t size = pixels * channels, images = 9, n = 40;
      std::vector<uint8_t> x(static_cast<size_t>(images * size));
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(random_below(4, i, 256));
      std::vector<int64_t> rows(n);
      for (size_t i = 0; i < rows.size(); ++i) rows[i] = random_below(5, i, images);
      const Floats scale = random_floats(channels, 6, 0.0, 0.02), shift = random_floats(channels, 7);
      Floats y(static_cast<size_t>(n * size), -9.0f);
      cpu::gather_images(y.data(), x.data(), rows.data(), n, pixels, channels, scale.data(), shift.data());
      Doubles expected(y.size());
      for (int64_t i = 0; i < n * size; ++i) {
        const size_t c = static_cast<size_t>(i % channels);
        expected[static_cast<size_t>(i)] =
            static_cast<double>(
                x[static_cast<size_t>(rows[static_cast<size_t>(i / size)] * size + i % size)]) *
                scale[c] +
            shift[c];
      }
      EXPECT_TRUE(near(y, expected, 1e-6)) << channels << " channels, " << pixels << " pixels";
    }
}

TEST(GatherLabels, PicksRows) {
  const std::vector<int32_t> x = {7, 8, 9};
  const std::vector<int64_t> rows = {2, 0, 2, 1};
  std::vector<int32_t> y(4);
  cpu::gather_labels(y.data(), x.data(), rows.data(), 4);
  EXPECT_EQ(y, (std::vector<int32_t>{9, 7, 9, 8}));
}

// Every map there may be: moved, mirrored, black at the edges, and holes over each other.
TEST(Views, AgainstNaiveLoops) {
  const WithThreads three(3);
  for (const int64_t c : {1, 2, 3, 4, 17})
    for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {3, 5}, {32, 32}, {33, 31}}) {
      SCOPED_TRACE(testing::Message() << h << "x" << w << "x" << c);
      const int64_t n = 11, images = 7, size = h * w * c;
      std::vector<uint8_t> x(static_cast<size_t>(images * size));
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(random_bits(1, i));
      std::vector<int64_t> rows;
      std::vector<int32_t> down, across;
      std::vector<Box> holes;
      uint64_t draw = 0;
      const auto below = [&](int64_t bound) { return static_cast<int32_t>(random_below(2, draw++, bound)); };
      for (int64_t i = 0; i < n; ++i) {
        rows.push_back(below(images));
        for (int64_t k = 0; k < h; ++k) down.push_back(below(h + 1) - 1);
        for (int64_t k = 0; k < w; ++k) across.push_back(below(w + 1) - 1);
        for (int hole = 0; hole < 2; ++hole) {
          const int32_t top = below(h), left = below(w);
          holes.push_back({top, left, top + below(h - top + 1), left + below(w - left + 1)});
        }
      }
      const Floats scale = random_floats(c, 3, 0.5, 1.5), shift = random_floats(c, 4);
      Doubles expected;
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = 0; k < size; ++k) {
          const int64_t row = k / (w * c), column = k / c % w, channel = k % c;
          const int32_t from = down[i * h + row], beside = across[i * w + column];
          const double pixel =
              from < 0 || beside < 0 ? 0.0 : x[rows[i] * size + from * w * c + beside * c + channel];
          const bool covered = std::any_of(&holes[2 * i], &holes[2 * i] + 2, [&](const Box& b) {
            return b.top <= row && row < b.bottom && b.left <= column && column < b.right;
          });
          expected.push_back(covered ? 0.0 : pixel * scale[channel] + shift[channel]);
        }
      Floats y(expected.size() + 1, 9.0f);
      cpu::gather_views(y.data(),
                        {.x = x.data(),
                         .rows = rows.data(),
                         .down = down.data(),
                         .across = across.data(),
                         .holes = holes.data(),
                         .n = n,
                         .h = h,
                         .w = w,
                         .c = c,
                         .holes_each = 2},
                        scale.data(), shift.data());
      EXPECT_EQ(y.back(), 9.0f) << "wrote past its end";
      y.pop_back();
      EXPECT_TRUE(near(y, expected, 1e-6));
    }
}

}  // namespace
}  // namespace espalier::images_test

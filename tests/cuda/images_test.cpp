// Batches are the CPU's, bit for bit.
#include "cuda/card.h"
#include "cuda/support.h"

namespace espalier::images_test {
namespace {

using CudaGatherImages = OnCard<>;
using CudaGatherLabels = OnCard<>;
using CudaViews = OnCard<>;

std::vector<uint8_t> random_bytes(int64_t n, uint64_t key) {
  std::vector<uint8_t> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(random_bits(key, i));
  return x;
}

TEST_F(CudaGatherImages, TheBitsOfTheCpu) {
  for (const int64_t channels : {1, 3, 4, 5, 16, 17})
    for (const int64_t pixels : {1, 7, 49, 784, 1024})
      for (const int64_t offset : {0, 1}) {
        SCOPED_TRACE(testing::Message() << channels << " channels, " << pixels << " pixels at " << offset);
        const int64_t size = pixels * channels, images = 9, n = 20;
        const auto x = random_bytes(images * size, 4);
        std::vector<int64_t> rows(n);
        for (size_t i = 0; i < rows.size(); ++i) rows[i] = random_below(5, i, images);
        const Floats scale = random_floats(channels, 6, 0.0, 0.02), shift = random_floats(channels, 7);
        Floats expected(static_cast<size_t>(n * size));
        cpu::gather_images(expected.data(), x.data(), rows.data(), n, pixels, channels, scale.data(),
                           shift.data());
        const OnDevice<float> y(n * size, offset), dscale(scale), dshift(shift);
        const OnDevice<uint8_t> dx(x);
        cuda::gather_images(y, dx, OnDevice<int64_t>(rows), n, pixels, channels, dscale, dshift);
        EXPECT_TRUE(same(y, expected));
      }
}

TEST_F(CudaGatherLabels, PicksRows) {
  const OnDevice<int32_t> x(std::vector<int32_t>{7, 8, 9}), y(4);
  const OnDevice<int64_t> rows(std::vector<int64_t>{2, 0, 2, 1});
  cuda::gather_labels(y, x, rows, 4);
  EXPECT_TRUE(same(y, {9, 7, 9, 8}));
}

// Every map there may be: moved, mirrored, black at the edges, and holes over each other.
TEST_F(CudaViews, TheBitsOfTheCpu) {
  for (const int64_t c : {1, 2, 3, 4, 17})
    for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {3, 5}, {32, 32}, {33, 31}})
      for (const int64_t holes_each : {0, 2}) {
        SCOPED_TRACE(testing::Message() << h << "x" << w << "x" << c << ", " << holes_each << " holes");
        const int64_t n = 11, images = 7, size = h * w * c;
        const auto x = random_bytes(images * size, 1);
        std::vector<int64_t> rows;
        std::vector<int32_t> down, across;
        std::vector<Box> holes;
        uint64_t draw = 0;
        const auto below = [&](int64_t bound) {
          return static_cast<int32_t>(random_below(2, draw++, bound));
        };
        for (int64_t i = 0; i < n; ++i) {
          rows.push_back(below(images));
          for (int64_t k = 0; k < h; ++k) down.push_back(below(h + 1) - 1);
          for (int64_t k = 0; k < w; ++k) across.push_back(below(w + 1) - 1);
          for (int64_t hole = 0; hole < holes_each; ++hole) {
            const int32_t top = below(h), left = below(w);
            holes.push_back({top, left, top + below(h - top + 1), left + below(w - left + 1)});
          }
        }
        const Floats scale = random_floats(c, 3, 0.5, 1.5), shift = random_floats(c, 4);
        ImageViews views{.x = x.data(),
                         .rows = rows.data(),
                         .down = down.data(),
                         .across = across.data(),
                         .holes = holes.empty() ? nullptr : holes.data(),
                         .n = n,
                         .h = h,
                         .w = w,
                         .c = c,
                         .holes_each = holes_each};
        Floats expected(static_cast<size_t>(n * size));
        cpu::gather_views(expected.data(), views, scale.data(), shift.data());

        const OnDevice<uint8_t> dx(x);
        const OnDevice<int64_t> drows(rows);
        const OnDevice<int32_t> ddown(down), dacross(across);
        const OnDevice<Box> dholes(holes);
        const OnDevice<float> y(n * size), dscale(scale), dshift(shift);
        views.x = dx, views.rows = drows, views.down = ddown, views.across = dacross;
        views.holes = holes.empty() ? nullptr : dholes.data();
        cuda::gather_views(y, views, dscale, dshift);
        EXPECT_TRUE(same(y, expected));
      }
}

}  // namespace
}  // namespace espalier::images_test

#include "espalier/core/window.h"

#include <gtest/gtest.h>

#include "espalier/util/error.h"

namespace espalier::window_test {
namespace {

TEST(Window, AWholeNumberStandsForAllAxesAndSides) {
  const ByAxis by = 3;
  EXPECT_EQ(by, ByAxis(3, 3));
  EXPECT_TRUE(by == 3 && by != ByAxis(3, 2));
  const Padding pad = 2;
  EXPECT_EQ(pad, Padding(2, 2, 2, 2));
  EXPECT_EQ(Padding(1, 0), Padding(1, 0, 1, 0));
  EXPECT_TRUE(pad == 2 && Padding(0, 0, 0, 1) != 0);
  EXPECT_EQ(Padding(3, 1, 2, 4).least(), 1);
  EXPECT_EQ(Padding(3, 1, 2, 4).most(), 4);
}

TEST(Window, IsWrittenInOneNumberWhereAllAreAlike) {
  EXPECT_EQ(join(ByAxis(2), " ", ByAxis(2, 1)), "2 2x1");
  EXPECT_EQ(join(Padding(1), " ", Padding(0, 1, 2, 1)), "1 [0, 1, 2, 1]");
}

TEST(Window, OutputsAreAsManyAsPlacesWhereItFits) {
  for (int64_t n = 1; n < 12; ++n)
    for (int64_t size = 1; size < 5; ++size)
      for (int64_t stride = 1; stride < 4; ++stride)
        for (int64_t dilation = 1; dilation < 4; ++dilation)
          for (int64_t before = 0; before < 3; ++before)
            for (int64_t behind = 0; behind < 3; ++behind) {
              const WindowAxis window{size, stride, dilation, before, behind};
              const int64_t reach = (size - 1) * dilation, end = n + behind;
              EXPECT_EQ(window.fits(n), -before + reach < end);
              if (!window.fits(n)) continue;
              int64_t places = 0, starts = 0;
              for (int64_t at = -before; at + reach < end; at += stride) ++places;
              EXPECT_EQ(window.out(n), places);
              // One more, if the last does not reach the end and the next starts on the image.
              for (int64_t at = -before; at < n && at - stride + reach < end - 1; at += stride) ++starts;
              WindowAxis up = window;
              up.ceil = true;
              if (behind > window.extent()) continue;  // windows of nothing
              EXPECT_EQ(up.out(n), starts);
            }
}

// What torch 2's max_pool2d(ceil_mode=True) puts out.
TEST(Window, RoundsUpAsPyTorch) {
  const auto out = [](int64_t n, int64_t k, int64_t stride, int64_t pad) {
    return WindowAxis{.size = k, .stride = stride, .before = pad, .behind = pad, .ceil = true}.out(n);
  };
  EXPECT_EQ(out(6, 3, 2, 0), 3);
  EXPECT_EQ(out(7, 3, 2, 0), 3);
  EXPECT_EQ(out(4, 2, 3, 1), 2);
  EXPECT_EQ(out(5, 2, 3, 1), 2);
  EXPECT_EQ(out(6, 2, 3, 1), 3);
  EXPECT_EQ(out(1, 2, 2, 1), 1);
}

TEST(Window, FitsNoNumbersThatOverflow) {
  const WindowAxis good{3, 2, 2, 1, 1};
  EXPECT_TRUE(good.fits(9));
  EXPECT_FALSE(good.fits(int64_t{1} << 40));
  for (int64_t WindowAxis::*number : {&WindowAxis::size, &WindowAxis::stride, &WindowAxis::dilation})
    for (const int64_t to : {int64_t{0}, int64_t{-1}, INT64_MAX, INT64_MAX / 2 + 2}) {
      WindowAxis bad = good;
      bad.*number = to;
      EXPECT_FALSE(bad.fits(9)) << to;
    }
  for (int64_t WindowAxis::*side : {&WindowAxis::before, &WindowAxis::behind})
    for (const int64_t to : {int64_t{-1}, INT64_MAX, int64_t{1} << 17}) {
      WindowAxis bad = good;
      bad.*side = to;
      EXPECT_FALSE(bad.fits(9)) << to;
    }
}

}  // namespace
}  // namespace espalier::window_test

#include <gtest/gtest.h>

#include "cuda/card.h"
#include "cuda/support.h"

namespace espalier::pixels_test {
namespace {

using CudaPixels = OnCard<>;

TEST_F(CudaPixels, AsOnTheCpu) {
  for (const int64_t n : {1, 9})
    for (const int64_t pixels : {1, 49, 257})
      for (const int64_t c : {1, 3, 37, 64, 132})
        for (const int64_t offset : {0, 1}) {
          SCOPED_TRACE(testing::Message() << n << " x " << pixels << " x " << c << " at " << offset);
          const Floats x = random_floats(n * pixels * c, 1), other = random_floats(n * pixels * c, 2),
                       s = random_floats(n * c, 3);
          const OnDevice<float> on_x(x, offset), on_other(other, offset), on_s(s, offset);
          Floats sum(x.size()), product(x.size()), total(s.size()), total_of_products(s.size());
          cpu::add_to_pixels(sum.data(), x.data(), s.data(), n, pixels, c);
          cpu::mul_pixels(product.data(), x.data(), s.data(), n, pixels, c, false);
          cpu::sum_pixels(total.data(), x.data(), nullptr, n, pixels, c, false);
          cpu::sum_pixels(total_of_products.data(), x.data(), other.data(), n, pixels, c, false);
          const OnDevice<float> y(n * pixels * c, offset), over_x(x, offset);
          cuda::add_to_pixels(y, on_x, on_s, n, pixels, c);
          EXPECT_TRUE(near(y, sum, 1e-6));
          cuda::add_to_pixels(over_x, over_x, on_s, n, pixels, c);
          EXPECT_TRUE(same(over_x, y.host())) << "y is x";
          check_on_device(product, 1e-6, [&](float* to, bool accumulate) {
            cuda::mul_pixels(to, on_x, on_s, n, pixels, c, accumulate);
          });
          check_on_device(total, 1e-5, [&](float* to, bool accumulate) {
            cuda::sum_pixels(to, on_x, nullptr, n, pixels, c, accumulate);
          });
          check_on_device(total_of_products, 1e-5, [&](float* to, bool accumulate) {
            cuda::sum_pixels(to, on_x, on_other, n, pixels, c, accumulate);
          });
        }
}

}  // namespace
}  // namespace espalier::pixels_test

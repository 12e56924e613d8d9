#include <gtest/gtest.h>

#include "core/cpu/guarded.h"
#include "espalier/core/kernels.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier::pixels_test {
namespace {

TEST(Pixels, AgainstLoops) {
  const WithThreads three(3);
  for (const int64_t n : {1, 5})
    for (const int64_t pixels : {1, 49, 1000})
      for (const int64_t c : {1, 7, 16, 37}) {
        SCOPED_TRACE(testing::Message() << n << " x " << pixels << " x " << c);
        const Floats x = random_floats(n * pixels * c, 1), other = random_floats(n * pixels * c, 2),
                     s = random_floats(n * c, 3);
        Doubles sums(x.size()), products(x.size()), total(s.size()), total_of_products(s.size());
        for (size_t i = 0; i < x.size(); ++i) {
          const size_t of_image =
              i / static_cast<size_t>(pixels * c) * static_cast<size_t>(c) + i % static_cast<size_t>(c);
          sums[i] = double{x[i]} + s[of_image];
          products[i] = double{x[i]} * s[of_image];
          total[of_image] += x[i];
          total_of_products[of_image] += double{x[i]} * other[i];
        }
        Guarded y(x.size() * sizeof(float));
        cpu::add_to_pixels(y.floats(), x.data(), s.data(), n, pixels, c);
        EXPECT_TRUE(near(y.span(), sums, 1e-6));
        Floats over_x = x;
        cpu::add_to_pixels(over_x.data(), over_x.data(), s.data(), n, pixels, c);
        EXPECT_TRUE(same_bits(y.span(), std::span<const float>(over_x))) << "y is x";
        check_output(products, 1e-6, [&](float* to, bool accumulate) {
          cpu::mul_pixels(to, x.data(), s.data(), n, pixels, c, accumulate);
        });
        check_output(total, 1e-5, [&](float* to, bool accumulate) {
          cpu::sum_pixels(to, x.data(), nullptr, n, pixels, c, accumulate);
        });
        check_output(total_of_products, 1e-5, [&](float* to, bool accumulate) {
          cpu::sum_pixels(to, x.data(), other.data(), n, pixels, c, accumulate);
        });
      }
}

}  // namespace
}  // namespace espalier::pixels_test

#include <array>

#include "cuda/card.h"
#include "cuda/support.h"

namespace espalier::elementwise_test {
namespace {

using CudaElementwise = OnCard<>;
using CudaDropout = OnCard<>;

// Less than a vector, a warp, a block, its loads under way (2048), odd tails, several blocks.
const int64_t sizes[] = {1, 3, 4, 31, 33, 255, 257, 1001, 2048, 2049, 40013};

/// What the CPU's kernel writes into n numbers.
template <class Kernel>
Floats on_cpu(int64_t n, const Kernel& kernel) {
  Floats y(static_cast<size_t>(n), 9.0f);
  kernel(y.data());
  return y;
}

TEST_F(CudaElementwise, AsOnTheCpu) {
  for (const int64_t n : sizes)
    for (const int64_t offset : {0, 1, 4}) {
      SCOPED_TRACE(testing::Message() << n << ", inputs at " << offset);
      const Floats a = random_floats(n, 1), b = random_floats(n, 2);
      const float scalar = 0.75f;
      const OnDevice<float> da(a, offset), db(b, offset), ds(Floats{scalar});
      const OnDevice<float> filled(n, offset), sum(n, offset);
      cuda::fill(filled, 1.5f, n);
      EXPECT_TRUE(same(filled, Floats(a.size(), 1.5f)));
      cuda::add(sum, da, db, n);
      EXPECT_TRUE(same(sum, on_cpu(n, [&](float* y) { cpu::add(y, a.data(), b.data(), n); })));
      check_on_device(on_cpu(n, [&](float* y) { cpu::mul(y, a.data(), b.data(), n, false); }), 1e-6,
                      [&](float* y, bool accumulate) { cuda::mul(y, da, db, n, accumulate); });
      check_on_device(on_cpu(n, [&](float* y) { cpu::scale(y, a.data(), -2.5f, n, false); }), 1e-6,
                      [&](float* y, bool accumulate) { cuda::scale(y, da, -2.5f, n, accumulate); });
      check_on_device(on_cpu(n, [&](float* y) { cpu::scale_by(y, a.data(), &scalar, n, false); }), 1e-6,
                      [&](float* y, bool accumulate) { cuda::scale_by(y, da, ds, n, accumulate); });
      check_on_device(on_cpu(n, [&](float* y) { cpu::broadcast(y, &scalar, 3.0f, n, false); }), 1e-6,
                      [&](float* y, bool accumulate) { cuda::broadcast(y, ds, 3.0f, n, accumulate); });
    }
}

TEST_F(CudaElementwise, NothingIsLeftAlone) {
  const OnDevice<float> y(Floats{5});
  cuda::fill(y, 1, 0);
  cuda::add(y, y, y, 0);
  cuda::set_bytes(y, 1, 0);
  cuda::copy_bytes(y, y, 0);
  cuda::copy_columns(y, 1, y, 1, 1, 0, false);
  EXPECT_TRUE(same(y, {5}));
}

TEST_F(CudaElementwise, AddInPlace) {
  const Floats a = random_floats(10001, 1), b = random_floats(10001, 2);
  Floats sum(a.size());
  cpu::add(sum.data(), a.data(), b.data(), 10001);
  const OnDevice<float> left(a), right(b), db(b), da(a);
  cuda::add(left, left, db, 10001);
  cuda::add(right, da, right, 10001);
  EXPECT_TRUE(same(left, sum));
  EXPECT_TRUE(same(right, sum));
}

TEST_F(CudaElementwise, CopiesColumns) {
  // rows, width, first, columns: vectors and none, few rows of many columns and the other way
  for (const auto& [rows, width, first, columns] : {std::array<int64_t, 4>{1, 1, 0, 1},
                                                    {5, 40, 3, 37},
                                                    {3001, 18, 2, 7},
                                                    {3, 4096, 0, 4096},
                                                    {70, 512, 64, 128},
                                                    {2, 70001, 1, 70000},
                                                    {257, 64, 4, 60}})
    for (const int64_t extra : {0, 1, 4}) {
      const int64_t y_width = columns + extra;
      SCOPED_TRACE(testing::Message() << rows << " rows of " << columns << " to " << y_width);
      const Floats x = random_floats(rows * width, 1);
      const OnDevice<float> dx(x);
      for (const bool accumulate : {false, true}) {
        Floats y = random_floats(rows * y_width, 2);
        const OnDevice<float> dy(y);
        cpu::copy_columns(y.data(), y_width, x.data() + first, width, columns, rows, accumulate);
        cuda::copy_columns(dy, y_width, dx + first, width, columns, rows, accumulate);
        EXPECT_TRUE(same(dy, y));
      }
    }
}

TEST_F(CudaElementwise, SetsAndCopiesBytes) {
  for (const int64_t n : {1, 1001, 90001}) {
    std::vector<uint8_t> x(static_cast<size_t>(n));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i * 7);
    const OnDevice<uint8_t> dx(x), y(n, 1);
    cuda::copy_bytes(y, dx, x.size());
    EXPECT_TRUE(same(y, x));
    cuda::set_bytes(y, 0xAB, x.size());
    EXPECT_TRUE(same(y, std::vector<uint8_t>(x.size(), 0xAB)));
  }
}

TEST_F(CudaDropout, TheBitsOfTheCpu) {
  const int64_t n = 40013;
  const Floats x = random_floats(n, 3, 0.5, 1.0);
  const OnDevice<float> dx(x);
  for (const float p : {0.0f, 0.1f, 0.5f, 0.9f})
    for (const uint64_t key : {uint64_t{0}, uint64_t{1}, random_key(5, 5)}) {
      SCOPED_TRACE(testing::Message() << "p " << p << ", key " << key);
      const Floats expected = on_cpu(n, [&](float* y) { cpu::dropout(y, x.data(), p, key, n, false); });
      const OnDevice<float> y(n), shifted(n, 1);
      cuda::dropout(y, dx, p, key, n, false);
      EXPECT_TRUE(same(y, expected));
      cuda::dropout(shifted, dx, p, key, n, false);
      EXPECT_TRUE(same(shifted, expected)) << "by single numbers";
      check_on_device(expected, 1e-6,
                      [&](float* y, bool accumulate) { cuda::dropout(y, dx, p, key, n, accumulate); });
    }
}

}  // namespace
}  // namespace espalier::elementwise_test

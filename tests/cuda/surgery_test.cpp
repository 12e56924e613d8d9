#include "cuda/on_cuda.h"
#include "cuda/support.h"

namespace espalier::surgery_test {
namespace {

using SurgeryOnCuda = OnCuda;

TEST_F(SurgeryOnCuda, TakesTheSameBytes) {
  // inner in bytes: of masks (1 each), of numbers, of vectors of 16
  for (const int64_t inner : {1, 3, 4, 12, 16, 148})
    for (const int64_t axis : {1, 3, 37, 101})
      for (const int64_t outer : {1, 257}) {
        std::vector<int64_t> kept;
        for (int64_t i = 0; i < axis; ++i)
          if (i % 3 != 1) kept.push_back(i);
        const TakeShape s{outer, axis, static_cast<int64_t>(kept.size()), inner};
        std::vector<uint8_t> x(static_cast<size_t>(outer * axis * inner));
        for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i * 37 + i / 251);
        std::vector<uint8_t> expected(static_cast<size_t>(outer * s.count * inner));
        cpu::take(expected.data(), x.data(), kept.data(), s);
        const OnDevice<uint8_t> from(x), to(static_cast<int64_t>(expected.size()));
        cuda::take(to, from, OnDevice<int64_t>(kept), s);
        EXPECT_TRUE(same(to, expected)) << outer << " x " << axis << " x " << inner;
      }
}

}  // namespace
}  // namespace espalier::surgery_test

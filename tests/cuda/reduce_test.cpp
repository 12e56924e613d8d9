#include <limits>

#include "cuda/card.h"
#include "cuda/support.h"

namespace espalier::reduce_test {
namespace {

using CudaReduce = OnCard<>;

float sum(const Floats& x, float factor, int64_t offset = 0) {
  const OnDevice<float> dx(x, offset), y(1);
  const auto scratch = device_scratch(cuda::reduce_scratch());
  cuda::sum(y, dx, factor, static_cast<int64_t>(x.size()), scratch);
  EXPECT_TRUE(y.intact() && scratch.intact());
  return y.host()[0];
}

double square_sum(const std::vector<UpdateSpan>& spans) {
  const OnDevice<double> y(1);
  const auto scratch = device_scratch(cuda::reduce_scratch());
  cuda::gradient_square_sum(y, spans.data(), static_cast<int64_t>(spans.size()), scratch);
  EXPECT_TRUE(y.intact() && scratch.intact());
  return y.host()[0];
}
/// Of which that pass reads only gradient and mask.
UpdateSpan span_of(const OnDevice<float>& g, const OnDevice<uint8_t>* mask = nullptr) {
  return {nullptr, g.data(), mask ? mask->data() : nullptr, nullptr, nullptr, g.size()};
}

TEST_F(CudaReduce, SumAndSquareSumAgainstDouble) {
  for (const int64_t n : {0, 1, 3, 31, 33, 255, 1001, 1024, 1025, 8192, 8193, 70001, 300007})
    for (const int64_t offset : {0, 1}) {
      SCOPED_TRACE(testing::Message() << n << " at " << offset);
      const Floats x = random_floats(n, 1, -1, 3);
      double plain = 0, squares = 0;
      for (const double v : x) plain += v, squares += v * v;
      EXPECT_NEAR(sum(x, 0.5f, offset), plain / 2, 1e-6 * std::max(1.0, plain));
      EXPECT_NEAR(square_sum({span_of(OnDevice<float>(x, offset))}), squares, 1e-6 * std::max(1.0, squares));
    }
}

TEST_F(CudaReduce, TheSameBitsAgainAndWhereverItLies) {
  const Floats x = random_floats(200003, 1);
  const float first = sum(x, 1);
  for (const int64_t offset : {0, 1, 2, 4}) EXPECT_EQ(sum(x, 1, offset), first) << offset;
}

TEST_F(CudaReduce, ManySmallNumbersAreNotLost) {
  // A running sum in single precision is a thousandth off by 2^24.
  const int64_t n = int64_t{1} << 22;
  const OnDevice<float> x(n), y(1);
  const auto scratch = device_scratch(cuda::reduce_scratch());
  cuda::fill(x, 0.1f, n);
  cuda::sum(y, x, 1.0f, n, scratch);
  EXPECT_FLOAT_EQ(y.host()[0], static_cast<float>(static_cast<double>(n) * 0.1f));
}

TEST_F(CudaReduce, SquareSumOfAllSpansWhereTheirMasksKeep) {
  const OnDevice<float> a(Floats{3, 100, 4, 100}), b(Floats{12});
  const OnDevice<uint8_t> mask(std::vector<uint8_t>{1, 0, 1, 0});
  EXPECT_EQ(square_sum({span_of(a, &mask), span_of(b)}), 169);
  EXPECT_EQ(square_sum({}), 0);
  EXPECT_EQ(square_sum({{nullptr, a, nullptr, nullptr, nullptr, 0}}), 0);
}

TEST_F(CudaReduce, SquareSumOfManySpans) {
  // More than one launch takes, of all sizes.
  for (const size_t count : {60, 65, 700, 1301}) {
    std::vector<int64_t> begin{0};
    for (size_t s = 0; s < count; ++s)
      begin.push_back(begin.back() + (s % 100 == 7 ? 5000 : static_cast<int64_t>(s % 9)));
    const Floats g = random_floats(begin.back(), count);
    const auto mask = random_mask(begin.back(), count);
    double expected = 0;
    for (size_t i = 0; i < g.size(); ++i) expected += mask[i] ? double{g[i]} * g[i] : 0;
    const OnDevice<float> device_g(g);
    const OnDevice<uint8_t> device_mask(mask);
    std::vector<UpdateSpan> spans;
    for (size_t s = 0; s < count; ++s)
      spans.push_back(
          {nullptr, device_g + begin[s], device_mask + begin[s], nullptr, nullptr, begin[s + 1] - begin[s]});
    EXPECT_NEAR(square_sum(spans), expected, 1e-6 * expected) << count;
  }
}

TEST_F(CudaReduce, FirstNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  const int64_t n = 40013;
  const auto search = [](const Floats& x, int64_t length) {
    const OnDevice<float> dx(x);
    const OnDevice<int64_t> y(1);
    cuda::first_not_finite(y, dx, length);
    EXPECT_TRUE(y.intact());
    return y.host()[0];
  };
  Floats x = random_floats(n, 1);
  EXPECT_EQ(search(x, n), -1);
  EXPECT_EQ(search(x, 0), -1);
  x[40012] = nan;
  EXPECT_EQ(search(x, n), 40012);
  EXPECT_EQ(search(x, n - 1), -1);
  x[17] = -infinity;
  EXPECT_EQ(search(x, n), 17);
  x[16] = std::numeric_limits<float>::max();
  x[0] = infinity;
  EXPECT_EQ(search(x, n), 0);
  EXPECT_EQ(search(Floats(1000, nan), 1000), 0);
}

}  // namespace
}  // namespace espalier::reduce_test

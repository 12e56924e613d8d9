#include "cuda/on_cuda.h"
#include "cuda/support.h"

namespace espalier::regularize_test {
namespace {

using RegularizeOnCuda = OnCuda;

constexpr int64_t sizes[] = {1, 3, 31, 32, 33, 255, 257, 10007, 1 << 20};

TEST_F(RegularizeOnCuda, Signs) {
  for (const int64_t n : sizes)
    for (const bool everywhere : {true, false})
      for (const int64_t offset : {0, 1}) {
        Floats w = random_floats(n, 1), dw = random_floats(n, 2);
        if (n > 2) w[2] = 0;
        const std::vector<uint8_t> where = random_mask(n, 3);
        const OnDevice<float> there(dw, offset);
        cuda::add_signs(there, OnDevice<float>(w, offset),
                        everywhere ? nullptr : OnDevice<uint8_t>(where).data(), 0.3f, n);
        cpu::add_signs(dw.data(), w.data(), everywhere ? nullptr : where.data(), 0.3f, n);
        EXPECT_TRUE(near(there, dw, 1e-6)) << n << ", everywhere " << everywhere << ", offset " << offset;
      }
}

TEST_F(RegularizeOnCuda, Shrinks) {
  for (const int64_t n : sizes)
    for (const int64_t offset : {0, 1}) {
      Floats w = random_floats(n, 1);
      const OnDevice<float> there(w, offset);
      cuda::shrink(there, 0.3f, n);
      cpu::shrink(w.data(), 0.3f, n);
      EXPECT_TRUE(near(there, w, 1e-6)) << n << ", offset " << offset;
    }
}

TEST_F(RegularizeOnCuda, Squares) {
  for (const int64_t n : sizes)
    for (const int64_t offset : {0, 1}) {
      const Floats x = random_floats(n, 1);
      Floats y = random_floats(n, 2);
      const OnDevice<float> there(y, offset);
      cuda::add_squares(there, OnDevice<float>(x, offset), 0.3f, n);
      cpu::add_squares(y.data(), x.data(), 0.3f, n);
      EXPECT_TRUE(near(there, y, 1e-6)) << n << ", offset " << offset;
    }
}

const AxesShape shapes[] = {{1, 1, 1},    {3, 1, 5},   {101, 9, 37},  {64, 9, 64},  {512, 9, 3},
                            {10, 1, 512}, {37, 25, 1}, {2, 1, 10007}, {512, 9, 512}};

TEST_F(RegularizeOnCuda, SquaresAlongBothAxes) {
  for (const AxesShape& s : shapes) {
    const Floats w = random_floats(s.elements(), 1);
    Doubles out(static_cast<size_t>(s.rows)), in(static_cast<size_t>(s.columns));
    for (int64_t i = 0; i < s.elements(); ++i) {
      const double square = static_cast<double>(w[static_cast<size_t>(i)]) * w[static_cast<size_t>(i)];
      out[static_cast<size_t>(i / (s.pixels * s.columns))] += square;
      in[static_cast<size_t>(i % s.columns)] += square;
    }
    const OnDevice<double> there_out(s.rows), there_in(s.columns);
    const auto scratch = device_scratch(cuda::axis_squares_scratch(s));
    cuda::axis_squares(there_out, there_in, OnDevice<float>(w), s, scratch.data());
    ASSERT_TRUE(there_out.intact() && there_in.intact() && scratch.intact());
    const Doubles rows = there_out.host(), columns = there_in.host();
    for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(rows[i], out[i], 1e-12 * std::max(1.0, out[i])) << i;
    for (size_t i = 0; i < in.size(); ++i) ASSERT_NEAR(columns[i], in[i], 1e-12 * std::max(1.0, in[i])) << i;
  }
}

TEST_F(RegularizeOnCuda, SquaresOfAVector) {
  const Floats w = random_floats(101, 1);
  Doubles expected(w.size());
  const AxesShape s{101, 1, 1};
  cpu::axis_squares(expected.data(), nullptr, w.data(), s, nullptr);
  const OnDevice<double> there(101);
  cuda::axis_squares(there, nullptr, OnDevice<float>(w), s, nullptr);
  EXPECT_TRUE(same(there, expected));
}

TEST_F(RegularizeOnCuda, GathersInOrder) {
  for (const int64_t n : {1, 37, 1000}) {
    const Floats x = random_floats(3 * n, 1);
    std::vector<int32_t> begin{0}, index;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < i % 4; ++j) index.push_back(static_cast<int32_t>((i * 7 + j * 5) % (3 * n)));
      begin.push_back(static_cast<int32_t>(index.size()));
    }
    if (index.empty()) index.push_back(0);
    Floats expected(static_cast<size_t>(n));
    cpu::gather_sums(expected.data(), x.data(), begin.data(), index.data(), n);
    Doubles wide(static_cast<size_t>(n));
    cpu::gather_sums(wide.data(), doubles(x).data(), begin.data(), index.data(), n);
    const OnDevice<float> sums(n);
    const OnDevice<double> wide_sums(n);
    cuda::gather_sums(sums.data(), OnDevice<float>(x).data(), OnDevice<int32_t>(begin),
                      OnDevice<int32_t>(index), n);
    cuda::gather_sums(wide_sums.data(), OnDevice<double>(doubles(x)).data(), OnDevice<int32_t>(begin),
                      OnDevice<int32_t>(index), n);
    EXPECT_TRUE(same(sums, expected));
    EXPECT_TRUE(same(wide_sums, wide));
  }
}

TEST_F(RegularizeOnCuda, CoefficientsOfGroups) {
  const std::vector<int32_t> begin{0, 1, 38, 39, 139, 651, 1675};  // one channel, one more, many
  const int64_t channels = begin.back(), groups = static_cast<int64_t>(begin.size()) - 1;
  Doubles squares = doubles(random_floats(channels, 1, 0.0, 3.0));
  for (size_t c = 39; c < 139; ++c) squares[c] = 2;  // all alike
  squares[5] = 0;
  std::vector<int32_t> members(static_cast<size_t>(channels));
  for (size_t c = 0; c < members.size(); ++c) members[c] = static_cast<int32_t>(c < 39 ? c % 4 : 3);
  Floats expected(static_cast<size_t>(channels));
  cpu::group_norm_pull(expected.data(), squares.data(), members.data(), begin.data(), groups, 0.01);
  const OnDevice<float> pulls(channels);
  cuda::group_norm_pull(pulls, OnDevice<double>(squares), OnDevice<int32_t>(members),
                        OnDevice<int32_t>(begin), groups, 0.01);
  EXPECT_TRUE(near(pulls, expected, 1e-7));
  cpu::group_lasso_pull(expected.data(), squares.data(), 0.01, channels);
  cuda::group_lasso_pull(pulls, OnDevice<double>(squares), 0.01, channels);
  EXPECT_TRUE(near(pulls, expected, 1e-7));
}

TEST_F(RegularizeOnCuda, Pulls) {
  for (const AxesShape& s : shapes)
    for (const bool both : {true, false})
      for (const int64_t offset : {0, 1}) {
        const Floats w = random_floats(s.elements(), 1), out = random_floats(s.rows, 2),
                     in = random_floats(s.columns, 3);
        Floats dw = random_floats(s.elements(), 4);
        const OnDevice<float> there(dw, offset);
        cuda::pull(there, OnDevice<float>(w, offset), OnDevice<float>(out),
                   both ? OnDevice<float>(in, 3).data() : nullptr, s);
        cpu::pull(dw.data(), w.data(), out.data(), both ? in.data() : nullptr, s);
        EXPECT_TRUE(near(there, dw, 1e-6)) << s.rows << " x " << s.pixels << " x " << s.columns;
      }
}

}  // namespace
}  // namespace espalier::regularize_test

// What penalties add to gradients, and what criteria gather of them. Plain loops: they are a small part of a
// step.
#include <algorithm>
#include <cmath>

#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

namespace espalier::cpu {
namespace {

constexpr int64_t grain = 65536;

int64_t rows_grain(const AxesShape& s) {
  return std::max<int64_t>(1, grain / std::max<int64_t>(1, s.pixels * s.columns));
}

float sign(float w) { return w > 0 ? 1.0f : w < 0 ? -1.0f : 0.0f; }

template <class T>
void sums(T* y, const T* x, const int32_t* begin, const int32_t* index, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    T sum = 0;
    for (int32_t j = begin[i]; j < begin[i + 1]; ++j) sum += x[index[j]];
    y[i] = sum;
  }
}

}  // namespace

void add_signs(float* dw, const float* w, const uint8_t* where, float weight, int64_t n) {
  parallel_for(n, grain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      if (!where || where[i]) dw[i] += weight * sign(w[i]);
  });
}

void shrink(float* w, float by, int64_t n) {
  parallel_for(n, grain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      w[i] = std::abs(w[i]) <= by ? 0.0f : w[i] - std::copysign(by, w[i]);  // a NaN stays one
  });
}

size_t axis_squares_scratch(const AxesShape& s) { return rows_scratch(s.columns); }

void axis_squares(double* out, double* in, const float* w, const AxesShape& s, void* scratch) {
  if (!in) {
    for (int64_t o = 0; o < s.rows; ++o) out[o] = static_cast<double>(w[o]) * w[o];
    return;
  }
  const int64_t columns = s.columns, row = s.pixels * columns;
  const int parts = parts_for(s.rows, rows_grain(s));
  float* const of_part = static_cast<float*>(scratch);  // [parts,columns]
  parallel_parts(parts, [=](int part) {
    float* const sums = of_part + part * columns;
    std::fill_n(sums, columns, 0.0f);
    const Range range = part_of(s.rows, part, parts);
    for (int64_t o = range.begin; o < range.end; ++o) {
      double sum = 0;
      for (const float* at = w + o * row; at != w + (o + 1) * row; at += columns) {
        float here = 0;
        for (int64_t i = 0; i < columns; ++i) {
          const float square = at[i] * at[i];
          sums[i] += square;
          here += square;
        }
        sum += here;
      }
      out[o] = sum;
    }
  });
  std::fill_n(in, columns, 0.0);
  for (int part = 0; part < parts; ++part)
    for (int64_t i = 0; i < columns; ++i) in[i] += of_part[part * columns + i];
}

void gather_sums(double* y, const double* x, const int32_t* begin, const int32_t* index, int64_t n) {
  sums(y, x, begin, index, n);
}
void gather_sums(float* y, const float* x, const int32_t* begin, const int32_t* index, int64_t n) {
  sums(y, x, begin, index, n);
}

void group_norm_pull(float* by, const double* squares, const int32_t* members, const int32_t* begin,
                     int64_t groups, double weight) {
  const auto norm = [=](int32_t c) { return std::sqrt(squares[c] / std::max(members[c], 1)); };
  for (int64_t g = 0; g < groups; ++g) {
    if (begin[g] == begin[g + 1]) continue;
    double min = norm(begin[g]), max = min;
    for (int32_t c = begin[g]; c < begin[g + 1]; ++c) {
      min = std::min(min, norm(c));
      max = std::max(max, norm(c));
    }
    for (int32_t c = begin[g]; c < begin[g + 1]; ++c)
      by[c] = static_cast<float>(weight * (max > min ? std::exp2(4 * (max - norm(c)) / (max - min)) : 1.0));
  }
}

void group_lasso_pull(float* by, const double* squares, double weight, int64_t channels) {
  for (int64_t c = 0; c < channels; ++c)
    by[c] = squares[c] > 0 ? static_cast<float>(weight / std::sqrt(squares[c])) : 0.0f;
}

void pull(float* dw, const float* w, const float* out, const float* in, const AxesShape& s) {
  const int64_t columns = s.columns, row = s.pixels * columns;
  parallel_for(s.rows, rows_grain(s), [=](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t at = o * row; at < (o + 1) * row; at += columns)
        for (int64_t i = 0; i < columns; ++i) dw[at + i] += (out[o] + (in ? in[i] : 0.0f)) * w[at + i];
  });
}

void add_squares(float* y, const float* x, float share, int64_t n) {
  parallel_for(n, grain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] += share * (x[i] * x[i]);
  });
}

}  // namespace espalier::cpu

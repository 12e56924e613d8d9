// Formulas of rows, [rows,C], in double precision.
#pragma once

#include <cmath>

#include "espalier/core/kernels.h"
#include "support/numbers.h"

namespace espalier {

/// Calls body(index of the first number) for each row.
template <class Body>
void for_rows(size_t numbers, size_t c, const Body& body) {
  for (size_t at = 0; at < numbers; at += c) body(at);
}

inline Doubles softmax_formula(const Doubles& x, size_t c) {
  Doubles y(x.size());
  for_rows(x.size(), c, [&](size_t at) {
    double largest = x[at], total = 0;
    for (size_t k = 0; k < c; ++k) largest = std::max(largest, x[at + k]);
    for (size_t k = 0; k < c; ++k) total += y[at + k] = std::exp(x[at + k] - largest);
    for (size_t k = 0; k < c; ++k) y[at + k] /= total;
  });
  return y;
}

inline Doubles softmax_backward_formula(const Doubles& dy, const Doubles& y, size_t c) {
  Doubles dx(y.size());
  for_rows(y.size(), c, [&](size_t at) {
    double sum = 0;
    for (size_t k = 0; k < c; ++k) sum += dy[at + k] * y[at + k];
    for (size_t k = 0; k < c; ++k) dx[at + k] = y[at + k] * (dy[at + k] - sum);
  });
  return dx;
}

/// What a layer norm computes forward, and backward from dy.
struct LayerNormFormula {
  Doubles y, dx;          // [rows,C]
  Doubles mean, rstd;     // [rows]
  Doubles dgamma, dbeta;  // [C]

  LayerNormFormula(const Doubles& x, const Doubles& dy, const Doubles& gamma, const Doubles& beta, double eps)
      : y(x.size()), dx(x.size()), dgamma(gamma.size()), dbeta(gamma.size()) {
    const size_t c = gamma.size();
    const double count = static_cast<double>(c);
    for_rows(x.size(), c, [&](size_t at) {
      double middle = 0, variance = 0, plain = 0, along = 0;
      for (size_t k = 0; k < c; ++k) middle += x[at + k] / count;
      for (size_t k = 0; k < c; ++k) variance += std::pow(x[at + k] - middle, 2) / count;
      const double r = 1 / std::sqrt(variance + eps);
      mean.push_back(middle), rstd.push_back(r);
      const auto z = [&](size_t k) { return (x[at + k] - middle) * r; };
      for (size_t k = 0; k < c; ++k) {
        y[at + k] = z(k) * gamma[k] + beta[k];
        if (dy.empty()) continue;
        dbeta[k] += dy[at + k];
        dgamma[k] += dy[at + k] * z(k);
        plain += dy[at + k] * gamma[k] / count;
        along += dy[at + k] * gamma[k] * z(k) / count;
      }
      for (size_t k = 0; k < c && !dy.empty(); ++k)
        dx[at + k] = r * (dy[at + k] * gamma[k] - plain - z(k) * along);
    });
  }
};

/// y [batch,m,n] = a b
inline Doubles matmul_formula(const Doubles& a, const Doubles& b, const MatmulShape& s) {
  const auto size = [](int64_t n) { return static_cast<size_t>(n); };
  const size_t m = size(s.m), n = size(s.n), k = size(s.k);
  Doubles y(size(s.batch) * m * n);
  for (size_t one = 0; one < size(s.batch); ++one)
    for (size_t i = 0; i < m; ++i)
      for (size_t j = 0; j < n; ++j)
        for (size_t t = 0; t < k; ++t)
          y[(one * m + i) * n + j] += a[one * m * k + (s.a_transposed ? t * m + i : i * k + t)] *
                                      b[one * k * n + (s.b_transposed ? j * k + t : t * n + j)];
  return y;
}

inline const MatmulShape matmul_shapes[] = {{1, 1, 1, 1},   {3, 5, 7, 11},   {1, 33, 17, 9},  {4, 16, 16, 16},
                                            {2, 1, 37, 65}, {6, 65, 65, 64}, {5, 65, 64, 65}, {2, 40, 1, 3}};

/// Calls body for each of those shapes with either operand transposed or not.
template <class Body>
void for_matmuls(const Body& body) {
  for (MatmulShape s : matmul_shapes)
    for (const bool ta : {false, true})
      for (const bool tb : {false, true}) {
        s.a_transposed = ta, s.b_transposed = tb;
        SCOPED_TRACE(testing::Message() << s.batch << " of " << s.m << "x" << s.k << "x" << s.n
                                        << (ta ? ", a transposed" : "") << (tb ? ", b transposed" : ""));
        body(s);
      }
}

}  // namespace espalier

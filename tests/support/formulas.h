// Textbook formulas in double precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <vector>

#include "espalier/core/kernels.h"
#include "support/numbers.h"

namespace espalier {

inline double normal_integral(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

/// f(x)
inline double activated(Activation f, double x) {
  switch (f) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x > 0 ? x : 0;
    case Activation::gelu:
      return x * normal_integral(x);
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::relu6:
      return std::clamp(x, 0.0, 6.0);
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::hard_swish:
      return x * activated(Activation::hard_sigmoid, x);
    case Activation::hard_sigmoid:
      return std::clamp(x + 3, 0.0, 6.0) / 6;
    case Activation::leaky_relu:
      return x > 0 ? x : 0.01 * x;
  }
  return 0;
}

/// f'(x)
inline double activation_slope(Activation f, double x) {
  switch (f) {
    case Activation::none:
      return 1;
    case Activation::relu:
      return x > 0;
    case Activation::gelu:
      return normal_integral(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
    case Activation::sigmoid:
      return activated(f, x) * (1 - activated(f, x));
    case Activation::tanh:
      return 1 - std::tanh(x) * std::tanh(x);
    case Activation::relu6:
      return x > 0 && x < 6;
    case Activation::silu:
      return (1 + x * (1 - activated(Activation::sigmoid, x))) * activated(Activation::sigmoid, x);
    case Activation::hard_swish:
      return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5;
    case Activation::hard_sigmoid:
      return x > -3 && x < 3 ? 1.0 / 6 : 0;
    case Activation::leaky_relu:
      return x > 0 ? 1 : 0.01;
  }
  return 0;
}

constexpr Activation activations[] = {Activation::none,      Activation::relu,       Activation::gelu,
                                      Activation::sigmoid,   Activation::tanh,       Activation::relu6,
                                      Activation::silu,      Activation::hard_swish, Activation::hard_sigmoid,
                                      Activation::leaky_relu};
/// Those that a norm can end with.
constexpr Activation norm_activations[] = {Activation::none,      Activation::relu, Activation::gelu,
                                           Activation::relu6,     Activation::silu, Activation::hard_swish,
                                           Activation::leaky_relu};

/// Calls body(image, output, input) for each product of x w', with numbers into y, w and x.
template <class Body>
void for_products(const LinearShape& s, const Body& body) {
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t o = 0; o < s.out; ++o)
      for (int64_t i = 0; i < s.in; ++i)
        body(static_cast<size_t>(n * s.out + o), static_cast<size_t>(o * s.in + i),
             static_cast<size_t>(n * s.in + i));
}

/// Of each channel of x [rows,C], over its rows.
struct ChannelMoments {
  Doubles mean, variance;
  ChannelMoments(std::span<const float> x, const NormShape& s)
      : mean(static_cast<size_t>(s.c)), variance(mean.size()) {
    const double rows = static_cast<double>(s.rows);
    for (size_t i = 0; i < x.size(); ++i) mean[i % mean.size()] += x[i] / rows;
    for (size_t i = 0; i < x.size(); ++i)
      variance[i % mean.size()] += std::pow(x[i] - mean[i % mean.size()], 2) / rows;
  }
};

/// What batch_norm_backward computes from numbers that the host may read: y and the gradients.
struct NormFormula {
  Floats y;
  Doubles dresidual, dx;  // [rows,C]
  Doubles dgamma, dbeta;  // [C]
  NormFormula(const NormBackward& from, const NormShape& s)
      : y(static_cast<size_t>(s.rows * s.c)),
        dresidual(y.size()),
        dx(y.size()),
        dgamma(static_cast<size_t>(s.c)),
        dbeta(dgamma.size()) {
    for (size_t i = 0; i < y.size(); ++i) {
      const size_t k = i % dbeta.size();
      const double z =
          from.x[i] * double{from.scale[k]} + from.shift[k] + (from.residual ? from.residual[i] : 0.0);
      y[i] = static_cast<float>(activated(from.f, z));
      dresidual[i] = from.dy[i] * activation_slope(from.f, z);
      dbeta[k] += dresidual[i];
      dgamma[k] += dresidual[i] * normalized(from, i);
    }
    for (size_t i = 0; i < y.size(); ++i) {
      const size_t k = i % dbeta.size();
      const double by_batch = (dbeta[k] + normalized(from, i) * dgamma[k]) / static_cast<double>(s.rows);
      dx[i] = from.scale[k] * (dresidual[i] - (from.batch_statistics ? by_batch : 0.0));
    }
  }

 private:
  double normalized(const NormBackward& from, size_t i) const {
    const size_t k = i % dbeta.size();
    return (double{from.x[i]} - from.mean[k]) * from.rstd[k];
  }
};

/// Of logits z [n,classes], all around `offset`. The gradient is n times that of their mean loss, so that a
/// tolerance means something.
struct CrossEntropyFormula {
  Doubles loss, gradient;
  std::vector<int32_t> rank;
  CrossEntropyFormula(const Floats& z, const std::vector<int32_t>& labels, double smoothing, double offset)
      : loss(labels.size()), gradient(z.size()), rank(labels.size()) {
    const size_t classes = z.size() / labels.size();
    for (size_t i = 0; i < labels.size(); ++i) {
      const float* const row = z.data() + i * classes;
      const auto label = static_cast<size_t>(labels[i]);
      double total = 0;
      for (size_t k = 0; k < classes; ++k) total += std::exp(row[k] - offset);
      for (size_t k = 0; k < classes; ++k) {
        const double target = (k == label ? 1.0 - smoothing : 0.0) + smoothing / static_cast<double>(classes);
        const double log_softmax = row[k] - offset - std::log(total);
        loss[i] -= target * log_softmax;
        gradient[i * classes + k] = std::exp(log_softmax) - target;
        rank[i] += row[k] > row[label] || (row[k] == row[label] && k < label);
      }
    }
  }
};

/// Of each row of logits z and of a teacher's t, T^2 KL(softmax(t / T) || softmax(z / T)), and its
/// derivatives by z.
struct KlDivergenceFormula {
  Doubles loss, gradient;
  KlDivergenceFormula(const Floats& z, const Floats& t, size_t classes, double temperature)
      : loss(z.size() / classes), gradient(z.size()) {
    const auto log_softmax = [&](const Floats& all, size_t row) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(row * classes);
      const double largest = *std::max_element(begin, begin + static_cast<std::ptrdiff_t>(classes));
      double total = 0;
      for (size_t k = 0; k < classes; ++k)
        total += std::exp((begin[static_cast<std::ptrdiff_t>(k)] - largest) / temperature);
      Doubles logs(classes);
      for (size_t k = 0; k < classes; ++k)
        logs[k] = (begin[static_cast<std::ptrdiff_t>(k)] - largest) / temperature - std::log(total);
      return logs;
    };
    for (size_t i = 0; i < loss.size(); ++i) {
      const Doubles q = log_softmax(z, i), p = log_softmax(t, i);
      for (size_t k = 0; k < classes; ++k) {
        loss[i] += temperature * temperature * std::exp(p[k]) * (p[k] - q[k]);
        gradient[i * classes + k] = temperature * (std::exp(q[k]) - std::exp(p[k]));
      }
    }
  }
};

}  // namespace espalier

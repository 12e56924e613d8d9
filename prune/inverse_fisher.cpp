#include "espalier/prune/inverse_fisher.h"

#include <algorithm>

#include "espalier/core/parallel.h"

namespace espalier {
namespace {

/// Takes one more gradient into the inverses of a parameter's blocks.
void add_gradient(SignalMatrices& inverses, const Tensor& gradient, double m) {
  const int64_t n = gradient.elements(), size = inverses.size, blocks = (n + size - 1) / size;
  parallel_for(blocks, std::max<int64_t>(1, 65536 / (size * size)), [&](int64_t begin, int64_t end) {
    std::vector<double> product(static_cast<size_t>(size));
    for (int64_t b = begin; b < end; ++b) {
      const int64_t length = std::min(size, n - b * size);
      const float* const g = gradient.f32() + b * size;
      if (std::all_of(g, g + length, [](float x) { return x == 0; })) continue;
      double* const inverse = inverses.values.data() + b * size * size;
      double curvature = m;
      for (int64_t i = 0; i < length; ++i) {
        double sum = 0;
        for (int64_t j = 0; j < length; ++j) sum += inverse[i * size + j] * g[j];
        product[static_cast<size_t>(i)] = sum;
        curvature += sum * g[i];
      }
      for (int64_t i = 0; i < length; ++i) {
        const double factor = product[static_cast<size_t>(i)] / curvature;
        for (int64_t j = 0; j < length; ++j)
          inverse[i * size + j] -= factor * product[static_cast<size_t>(j)];
      }
    }
  });
}

/// I / damping in each block.
SignalMatrices first_inverses(int64_t n, int64_t size, double damping) {
  const int64_t blocks = (n + size - 1) / size;
  SignalMatrices made{size, std::vector<double>(static_cast<size_t>(blocks * size * size))};
  for (int64_t q = 0; q < n; ++q) made.values[static_cast<size_t>(q * size + q % size)] = 1 / damping;
  return made;
}

}  // namespace

Signals inverse_fisher(Module& model, const Shape&, const Criterion& criterion, const SignalData& data) {
  const ExtraOptions options = criterion.all_options();
  const int64_t size = options.whole("block_size");
  Signals signals;
  for_gradients(model, data, [&](Parameter& parameter, const Tensor& gradient) {
    if (parameter.role != Role::weight) return;
    SignalMatrices& inverses = signals.matrices[&parameter];
    if (inverses.size == 0) inverses = first_inverses(gradient.elements(), size, options.number("damping"));
    add_gradient(inverses, gradient.to(Device::cpu), static_cast<double>(data.batches));
  });
  for (const auto& [parameter, inverses] : signals.matrices) {
    Tensor costs = Tensor::empty(parameter->shape());
    for (int64_t q = 0; q < costs.elements(); ++q)
      costs.f32()[q] = static_cast<float>(1 / inverses.values[static_cast<size_t>(q * size + q % size)]);
    signals.of_parameters[parameter] = costs;
  }
  return signals;
}

}  // namespace espalier

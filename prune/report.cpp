#include "espalier/prune/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "espalier/core/table.h"

namespace espalier {
namespace {

std::string dimensions(const Shape& shape) { return fmt::format("{}", fmt::join(shape.sizes(), "x")); }

/// Only all is 100 %, and only none is 0 %.
std::string percent(int64_t part, int64_t whole) {
  if (whole == 0) return "-";
  double share = 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  if (part > 0 && part < whole) share = std::clamp(share, 0.01, 99.99);
  return fmt::format("{:.2f} %", share);
}

std::string bar(double share) {
  constexpr int64_t width = 10;
  const int64_t filled = std::llround(share * width);
  return std::string(filled, '#') + std::string(width - filled, '.');
}

}  // namespace

std::string network_table(const std::vector<LayerRow>& layers, const NetworkTotals& totals) {
  Table table({"<layer", "<shape", "parameters", "non-zeros", "sparsity", "MACs"});
  for (const LayerRow& layer : layers)
    table.add({layer.name, dimensions(layer.shape), grouped(layer.parameters), grouped(layer.nonzeros),
               percent(layer.weight_zeros, layer.weights), grouped(layer.macs)});
  table.add({"total", "", grouped(totals.parameters), grouped(totals.nonzeros),
             percent(totals.weight_zeros, totals.weights), grouped(totals.macs)});
  return table.str() + fmt::format("{} bytes as dense f32\n", grouped(totals.bytes));
}

std::string sparsity_table(const std::vector<LayerRow>& layers, const NetworkTotals& totals) {
  Table table({"<layer", "<shape", "weights", "zeros", "sparsity", "<"});
  for (const LayerRow& layer : layers)
    if (layer.weights > 0)
      table.add({layer.name, dimensions(layer.shape), grouped(layer.weights), grouped(layer.weight_zeros),
                 percent(layer.weight_zeros, layer.weights), bar(layer.sparsity())});
  table.add({"total", "", grouped(totals.weights), grouped(totals.weight_zeros),
             percent(totals.weight_zeros, totals.weights), bar(totals.sparsity())});
  return table.str();
}

}  // namespace espalier

#include "espalier/prune/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace espalier {
namespace {

/// 1234567 as "1,234,567".
std::string grouped(int64_t number) {
  std::string digits = fmt::format("{}", number);
  const int64_t first = digits.starts_with('-') ? 1 : 0;
  for (auto place = static_cast<int64_t>(digits.size()) - 3; place > first; place -= 3)
    digits.insert(place, ",");
  return digits;
}

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

/// Rows below a row of headings: the first two columns to the left, the rest, numbers, to the right. Columns
/// stand two spaces apart, or one where two would not fit a terminal.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  const size_t columns = rows.front().size();
  std::vector<size_t> widths(columns);
  for (const auto& row : rows)
    for (size_t i = 0; i < columns; ++i) widths[i] = std::max(widths[i], row[i].size());
  const size_t wide = std::accumulate(widths.begin(), widths.end(), 2 * (columns - 1));
  const std::string gap(wide <= 80 ? 2 : 1, ' ');
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < columns; ++i)
      line += (i ? gap : "") +
              (i < 2 ? fmt::format("{:<{}}", row[i], widths[i]) : fmt::format("{:>{}}", row[i], widths[i]));
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace

std::string network_table(const std::vector<LayerRow>& layers, const NetworkTotals& totals) {
  std::vector<std::vector<std::string>> rows = {
      {"layer", "shape", "parameters", "non-zeros", "sparsity", "MACs"}};
  for (const LayerRow& layer : layers)
    rows.push_back({layer.name, dimensions(layer.shape), grouped(layer.parameters), grouped(layer.nonzeros),
                    percent(layer.weight_zeros, layer.weights), grouped(layer.macs)});
  rows.push_back({"total", "", grouped(totals.parameters), grouped(totals.nonzeros),
                  percent(totals.weight_zeros, totals.weights), grouped(totals.macs)});
  return table(rows) + fmt::format("{} bytes as dense f32\n", grouped(totals.bytes));
}

std::string sparsity_table(const std::vector<LayerRow>& layers, const NetworkTotals& totals) {
  std::vector<std::vector<std::string>> rows = {{"layer", "shape", "weights", "zeros", "sparsity", ""}};
  for (const LayerRow& layer : layers)
    if (layer.weights > 0)
      rows.push_back({layer.name, dimensions(layer.shape), grouped(layer.weights),
                      grouped(layer.weight_zeros), percent(layer.weight_zeros, layer.weights),
                      bar(layer.sparsity())});
  rows.push_back({"total", "", grouped(totals.weights), grouped(totals.weight_zeros),
                  percent(totals.weight_zeros, totals.weights), bar(totals.sparsity())});
  return table(rows);
}

}  // namespace espalier

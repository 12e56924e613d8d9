#include "espalier/prune/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "espalier/util/table.h"

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

std::string bar(double share, int64_t width = 10) {
  const int64_t filled = std::llround(share * width);
  return std::string(filled, '#') + std::string(width - filled, '.');
}

}  // namespace

std::string network_table(const std::vector<LayerRow>& layers, const NetworkTotals& totals, size_t width) {
  Table table({"<layer", "<shape", "parameters", "non-zeros", "sparsity", "MACs"});
  for (const LayerRow& layer : layers)
    table.add({layer.name, dimensions(layer.shape), grouped(layer.parameters), grouped(layer.nonzeros),
               percent(layer.weight_zeros, layer.weights), grouped(layer.macs)});
  table.add({"total", "", grouped(totals.parameters), grouped(totals.nonzeros),
             percent(totals.weight_zeros, totals.weights), grouped(totals.macs)});
  return table.str(width) + fmt::format("{} bytes as dense f32\n", grouped(totals.bytes));
}

std::string sparsity_table(const std::vector<LayerRow>& layers, const NetworkTotals& totals, size_t width) {
  Table table({"<layer", "<shape", "weights", "zeros", "sparsity", "<"});
  for (const LayerRow& layer : layers)
    if (layer.weights > 0)
      table.add({layer.name, dimensions(layer.shape), grouped(layer.weights), grouped(layer.weight_zeros),
                 percent(layer.weight_zeros, layer.weights), bar(layer.sparsity())});
  table.add({"total", "", grouped(totals.weights), grouped(totals.weight_zeros),
             percent(totals.weight_zeros, totals.weights), bar(totals.sparsity())});
  return table.str(width);
}

namespace {

/// `width`: of the terminal; where that is narrow, so is the bar, of which a table would cut the middle out.
void add_width(Table& table, const std::string& layer, int64_t before, int64_t after, size_t width) {
  const double share = static_cast<double>(after) / static_cast<double>(before);
  table.add({layer, grouped(before), grouped(after), bar(share, width < 80 ? 16 : 32)});
}

std::string fewer(const std::string& what, int64_t before, int64_t after) {
  return fmt::format("{} {} -> {} ({:.2f}x fewer)", what, grouped(before), grouped(after),
                     static_cast<double>(before) / static_cast<double>(after));
}

}  // namespace

std::vector<std::string> held_lines(const PruneResult& result, const std::string& units) {
  std::vector<std::string> lines;
  for (const auto& held : result.held)
    lines.push_back(fmt::format("{} is held at {} of {} {}; the selection would have left {}", held.layer,
                                grouped(held.kept), grouped(held.units), units, grouped(held.wanted)));
  return lines;
}

std::string channel_table(const PruneResult& result, size_t width) {
  Table table({"<channels of", "before", "after", "<"});
  for (const auto& layer : result.layers) add_width(table, layer.name, layer.units, layer.left(), width);
  add_width(table, "total", result.total().units, result.total().left(), width);
  std::string text;
  for (const std::string& line : held_lines(result, "channels")) text += line + "\n";
  text += speed_line(result) + "\n" + fewer("parameters", result.before.parameters, result.after.parameters) +
          "\n" + fewer("bytes", result.before.bytes, result.after.bytes) + "\n";
  if (const auto& proof = result.proof) {
    text += fmt::format(
        "verified: cut and masked network differ by {:.2g} at most, the largest output is {:.3g}{}\n",
        proof->largest_difference, proof->largest_output,
        proof->by_the_batch ? " (by the batch's own statistics)" : "");
    if (!proof->says_something())
      text += fmt::format(
          "but outputs of two images differ by {:.2g} at most: so dead a network proves nothing\n",
          proof->spread);
  }
  return table.str(width) + wrapped(text, width);
}

std::string speed_line(const PruneResult& result) {
  const std::string macs = fewer("MACs", result.before.macs, result.after.macs);
  const double before = result.latency_before_ms, after = result.latency_ms;
  if (after == 0) return macs;
  if (before == 0) return fmt::format("{}, latency {:.3g} ms", macs, after);
  return fmt::format("{}, latency {:.3g} -> {:.3g} ms ({:.2f}x)", macs, before, after,
                     result.latency_speedup());
}

std::string channel_line(const PruneResult& result) {
  std::string text = fmt::format(
      "{:.2f}x fewer MACs, {:.2f}x fewer parameters", result.speedup(),
      static_cast<double>(result.before.parameters) / static_cast<double>(result.after.parameters));
  if (result.latency_ms > 0) text += fmt::format(", {:.3g} ms", result.latency_ms);
  if (result.proof)
    text += fmt::format("; cut and masked differ by {:.2g} of {:.3g}", result.proof->largest_difference,
                        result.proof->largest_output);
  for (size_t i = 0; i < result.held.size(); ++i)
    text += fmt::format("{}{} ({})", i == 0 ? "; held: " : ", ", result.held[i].layer, result.held[i].kept);
  return text;
}

std::vector<LayerWidth> cut_widths(Module& model) {
  std::vector<LayerWidth> widths;
  for (const AxisCut& one : model.history)
    if (const Parameter* cut = model.find(one.parameter); one.axis == 0 && cut && cut->role == Role::weight)
      widths.push_back(
          {std::string(layer_name(one.parameter)), one.before, static_cast<int64_t>(one.kept.size()), cut});
  return widths;
}

std::string width_table(const std::vector<LayerWidth>& widths, size_t width) {
  if (widths.empty()) return "";
  Table table({"<channels of", "before", "after", "<"});
  for (const LayerWidth& one : widths) add_width(table, one.layer, one.before, one.after, width);
  return table.str(width);
}

}  // namespace espalier

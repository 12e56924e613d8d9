#include "espalier/prune/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

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

namespace {

std::string score_text(const std::optional<double>& score) {
  return score ? fmt::format("{:.4g}", *score) : "";
}

/// How many layers were ranked against each other, by the number of their class.
std::map<size_t, int64_t> class_sizes(const PruneResult& result) {
  std::map<size_t, int64_t> sizes;
  for (const LayerScores& layer : result.scores) ++sizes[layer.ranked];
  return sizes;
}

/// Of all layers together, but for the median.
LayerScores joined_scores(const std::vector<LayerScores>& layers) {
  LayerScores all;
  for (const LayerScores& layer : layers) {
    if (!layer.any()) continue;
    all.min = all.any() ? std::min(all.min, layer.min) : layer.min;
    all.max = all.any() ? std::max(all.max, layer.max) : layer.max;
    if (layer.highest_gone)
      all.highest_gone = std::max(all.highest_gone.value_or(*layer.highest_gone), *layer.highest_gone);
    if (layer.lowest_kept)
      all.lowest_kept = std::min(all.lowest_kept.value_or(*layer.lowest_kept), *layer.lowest_kept);
  }
  return all;
}

}  // namespace

bool has_classes(const PruneResult& result) {
  const auto sizes = class_sizes(result);
  return sizes.size() > 1 && sizes.size() < result.scores.size();
}

std::string scores_table(const PruneResult& result, const std::string& units, size_t width) {
  Table table({"<layer", units, "gone before", "go now", "share", "min", "median", "max", "went up to",
               "stay from", "class", "<limit"});
  table.keep({3, 8, 9, 4, 1, 11, 10, 2, 5, 7, 6});
  const auto counts = [](const PruneResult::Layer& layer) {
    return std::vector<std::string>{
        layer.name, grouped(layer.units), layer.already > 0 ? grouped(layer.already) : "",
        grouped(layer.pruned - layer.already), percent(layer.pruned, layer.units)};
  };
  for (size_t i = 0; i < result.layers.size(); ++i) {
    const LayerScores& scores = result.scores[i];
    auto row = counts(result.layers[i]);
    for (const double one : {scores.min, scores.median, scores.max})
      row.push_back(scores.any() ? score_text(one) : "");
    row.push_back(score_text(scores.highest_gone));
    row.push_back(score_text(scores.lowest_kept));
    row.push_back(has_classes(result) ? std::to_string(scores.ranked + 1) : "");
    const auto held = std::ranges::find(result.held, result.layers[i].name, &Ranking::Held::layer);
    row.push_back(held == result.held.end() ? "" : fmt::format("held at {}", grouped(held->kept)));
    table.add(std::move(row));
  }
  auto total = counts(result.total());
  total.resize(12);
  if (const LayerScores all = joined_scores(result.scores); all.any() && class_sizes(result).size() == 1) {
    total[5] = score_text(all.min);
    total[7] = score_text(all.max);
    total[8] = score_text(all.highest_gone);
    total[9] = score_text(all.lowest_kept);
  }
  table.add(std::move(total));
  return table.str(width);
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

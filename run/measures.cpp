#include "espalier/run/measures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "espalier/util/table.h"

namespace espalier {
namespace {

std::string whole_text(double value) { return grouped(std::llround(std::min(value, 1e15))); }
/// What no measurement comes to, as a file edited by hand may hold it, stays short.
std::string decimals(double value, int digits) {
  return std::abs(value) < 1e9 ? fmt::format("{:.{}f}", value, digits) : fmt::format("{:.3g}", value);
}
std::string percent_text(double value) { return decimals(value, 2); }
std::string share_text(double value) { return decimals(100 * value, 2); }
std::string loss_text(double value) { return decimals(value, 4); }
std::string latency_text(double value) { return fmt::format("{:.3g}", value); }
std::string ratio_text(double value) { return decimals(value, 2); }

std::vector<Measure> with_errors() {
  std::vector<Measure> all;
  for (const Measure& measure : measures()) {
    all.push_back(measure);
    if (measure.name == std::string("accuracy")) all.push_back({"error", "error", " %", percent_text});
    if (measure.name == std::string("best_accuracy"))
      all.push_back({"best_error", "best error", " %", percent_text});
  }
  return all;
}

}  // namespace

const std::vector<Measure>& measures() {
  static const std::vector<Measure> all{{"accuracy", "accuracy", " %", percent_text},
                                        {"best_accuracy", "best", " %", percent_text},
                                        {"best_epoch", "best epoch", "", whole_text},
                                        {"sparsity", "sparsity", " %", share_text},
                                        {"macs", "MACs", "", whole_text},
                                        {"latency_ms", "latency", " ms", latency_text},
                                        {"latency_speedup", "speed-up", "x", ratio_text},
                                        {"loss", "loss", "", loss_text},
                                        {"top5", "top-5", " %", percent_text},
                                        {"parameters", "parameters", "", whole_text},
                                        {"nonzeros", "non-zeros", "", whole_text},
                                        {"bytes", "size", "", bytes_text},
                                        {"packed_bytes", "packed", "", bytes_text},
                                        {"images_per_second", "images/s", "", whole_text},
                                        {"seconds", "time", "", duration_text}};
  return all;
}

const std::vector<Measure>& reported_measures() {
  static const std::vector<Measure> all = with_errors();
  return all;
}

const Measure* measure_named(const std::string& name) {
  const auto found =
      std::ranges::find_if(reported_measures(), [&](const Measure& m) { return m.name == name; });
  return found == reported_measures().end() ? nullptr : &*found;
}

Spread spread_of(const std::vector<double>& values) {
  Spread spread{.n = static_cast<int64_t>(values.size())};
  const auto n = static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) spread.mean += value / n;
  for (const double value : values) squares += (value - spread.mean) * (value - spread.mean);
  if (spread.n > 1) spread.deviation = std::sqrt(squares / (n - 1));
  return spread;
}

}  // namespace espalier

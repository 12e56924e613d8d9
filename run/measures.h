// What is measured after a stage, and how a person reads it; and what several runs come to together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace espalier {

struct Measure {
  const char* name;  ///< as StageSummary (run_summary.h), CSV and JSON have it
  const char *title, *unit;
  std::string (*text)(double value);  ///< without the unit
};

/// All, in the order in which tables have them.
const std::vector<Measure>& measures();
/// The same, and what papers report in the place of accuracies: error and best_error, 100 less the accuracy.
const std::vector<Measure>& reported_measures();
/// One of reported_measures(); null: there is none of this name.
const Measure* measure_named(const std::string& name);

/// Numbers of several runs.
struct Spread {
  int64_t n = 0;
  double mean = 0;
  std::optional<double> deviation = {};  ///< the sample's, sqrt(sum (x - mean)^2 / (n - 1)); of n > 1
};
Spread spread_of(const std::vector<double>& values);

}  // namespace espalier

// Where each op of the catalogue is tried (catalogue_test.cpp): its test says, in
// tests/graph/ops/<family>_test.cpp.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "espalier/graph/graph.h"
#include "espalier/util/error.h"

namespace espalier {

/// A place in a graph: what comes in, of two images, in a row's order, and what the op is told.
struct OpSample {
  std::vector<Shape> inputs;
  std::vector<std::pair<std::string, Attribute>> attributes = {};
  double low = -1, high = 1;                    ///< of the numbers that come in
  std::optional<size_t> without_gradient = {};  ///< an input of which only the shape is looked at
  bool moves_nothing = false;                   ///< it has no kernels
};

/// By the op's name.
inline std::map<std::string, OpSample>& op_samples() {
  static std::map<std::string, OpSample> all;
  return all;
}

/// Adds one while a test program starts: const AddOpSample flatten{"flatten", {.inputs = {{2, 5, 4, 3}}}};
struct AddOpSample {
  AddOpSample(const std::string& op, OpSample sample) {
    ESP_CHECK(op_samples().emplace(op, std::move(sample)).second, op, " has two samples");
  }
};

}  // namespace espalier

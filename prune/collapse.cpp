#include "espalier/prune/collapse.h"

#include <fmt/format.h>

#include <algorithm>

#include "espalier/nn/names.h"
#include "espalier/util/table.h"

namespace espalier {

std::vector<std::string> collapsed_layers(Module& model) {
  std::vector<std::string> lines;
  for (const Parameter* parameter : model.parameters()) {
    if (parameter->role != Role::weight) continue;
    const Tensor value = parameter->value().to(Device::cpu);
    const int64_t rows = value.shape()[0], weights = value.elements(), size = weights / rows;
    int64_t left = 0, rows_left = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = value.f32() + r * size;
      const int64_t zeros = std::count(row, row + size, 0.0f);
      left += size - zeros;
      rows_left += zeros < size;
    }
    if (left * 1000 >= weights && rows_left * 10 >= rows) continue;
    lines.push_back(fmt::format("layer collapse: {} is left with {} of {} weights, in {} of {} rows",
                                layer_name(parameter->name), grouped(left), grouped(weights),
                                grouped(rows_left), grouped(rows)));
  }
  return lines;
}

}  // namespace espalier

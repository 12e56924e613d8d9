// Pruning as a book, step 2, unit: what lives or dies together. Weights and rows lie in consecutive numbers
// of one parameter, so a unit is a place and a length.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "espalier/nn/parameter.h"

namespace espalier {

enum class Unit : uint8_t {
  weight,   ///< one number
  row,      ///< all weights of one output: a filter [Kh,Kw,I] of a convolution, a row [I] of a linear layer
  channel,  ///< all that makes and reads one channel: numbers of several parameters, see graph.h
};

/// What units may be called, in the order of the enumeration.
const std::vector<std::string>& unit_names();
/// The unit of that name; UsageError for any other.
Unit unit_named(const std::string& name);

/// The units of one parameter: unit i is the numbers i size .. (i + 1) size - 1 of its value.
struct LayerUnits {
  Parameter* parameter;
  int64_t first;  ///< the number of its unit 0 in the whole set
  int64_t count;
  int64_t size;

  /// True if `mask`, the bytes of the parameter's on the CPU, holds every number of unit i at zero.
  bool pruned(const uint8_t* mask, int64_t i) const {
    return std::all_of(mask + i * size, mask + (i + 1) * size, [](uint8_t kept) { return kept == 0; });
  }
};

/// The units of several parameters, numbered through: by layer, then by index. Channels, which are not in
/// consecutive numbers, are an Error.
struct UnitSet {
  UnitSet(Unit unit, const std::vector<Parameter*>& parameters);

  std::vector<LayerUnits> layers;
  int64_t count = 0;
};

}  // namespace espalier

#include "espalier/prune/unit.h"

#include "espalier/prune/names.h"

namespace espalier {

const std::vector<std::string>& unit_names() {
  static const std::vector<std::string> names = {"weight", "row", "channel"};
  return names;
}

Unit unit_named(const std::string& name) {
  return static_cast<Unit>(position_of_name("unit", name, unit_names()));
}

UnitSet::UnitSet(Unit unit, const std::vector<Parameter*>& parameters) {
  ESP_CHECK(unit != Unit::channel, "prune: channels are cut by prune_channels");
  for (Parameter* parameter : parameters) {
    const Shape& shape = parameter->shape();
    ESP_CHECK(shape.axes() >= 2, parameter->name, ": has no rows to prune, its shape is ", shape);
    LayerUnits layer{.parameter = parameter, .first = count, .count = shape.elements(), .size = 1};
    if (unit == Unit::row) {
      layer.count = shape[0];
      layer.size = shape.row_elements();
    }
    count += layer.count;
    layers.push_back(layer);
  }
}

}  // namespace espalier

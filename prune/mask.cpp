#include "espalier/prune/mask.h"

#include <algorithm>

namespace espalier {

void apply_masks(const UnitSet& units, const Tensor& kept) {
  for (const LayerUnits& layer : units.layers) {
    const auto verdicts = kept.span<uint8_t>().subspan(layer.first, layer.count);
    if (std::find(verdicts.begin(), verdicts.end(), 0) == verdicts.end()) continue;
    const Tensor& before = layer.parameter->mask;
    Tensor mask =  // on the CPU, where the verdicts are
        before.defined() ? before.clone(Device::cpu) : Tensor::empty(layer.parameter->shape(), DType::u8);
    if (!before.defined()) std::fill_n(mask.data<uint8_t>(), mask.elements(), 1);
    uint8_t* place = mask.data<uint8_t>();
    for (const uint8_t verdict : verdicts)
      for (const uint8_t* end = place + layer.size; place != end; ++place) *place &= verdict;
    layer.parameter->set_mask(std::move(mask));
  }
}

void remove_masks(Module& model) {
  for (Parameter* parameter : model.parameters()) parameter->remove_mask();
}

}  // namespace espalier

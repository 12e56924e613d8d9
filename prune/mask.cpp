#include "espalier/prune/mask.h"

#include <algorithm>
#include <map>

namespace espalier {

void apply_masks(const UnitSet& units, const Tensor& kept, bool gives_back) {
  std::map<Parameter*, Tensor> masks;  // on the CPU, where the verdicts are; of several groups one may be
  for (const UnitGroup& group : units.groups) {
    const uint8_t* const stays = kept.data<uint8_t>() + group.first;
    const bool loses = std::find(stays, stays + group.count, 0) != stays + group.count;
    for (const UnitMember& member : group.members) {
      Parameter& parameter = *member.parameter;
      const bool had = parameter.mask.defined();
      if (!parameter.learned() || (!loses && !(had && gives_back))) continue;
      const auto [place, is_new] = masks.try_emplace(&parameter);
      Tensor& mask = place->second;
      if (is_new) {
        mask = had && !gives_back ? parameter.mask.clone(Device::cpu)
                                  : Tensor::empty(parameter.shape(), DType::u8);
        if (!had || gives_back) std::ranges::fill(mask.span<uint8_t>(), uint8_t{1});
      }
      member.each_run([&](int64_t unit, int64_t offset, int64_t length) {
        if (!stays[unit]) std::fill_n(mask.data<uint8_t>() + offset, length, uint8_t{0});
      });
    }
  }
  for (auto& [parameter, mask] : masks) parameter->set_mask(std::move(mask));
}

void remove_masks(Module& model) {
  for (Parameter* parameter : model.parameters()) parameter->remove_mask();
}

}  // namespace espalier

#include "espalier/prune/mask.h"

#include <algorithm>
#include <map>

#include "espalier/core/kernels.h"

namespace espalier {
namespace {

using Masks = std::map<Parameter*, Tensor>;

/// The masks that parameters are to have, where their values are: of those that lose units, and of others
/// that get some back.
Masks masks_of(const UnitSet& units, const Tensor& kept, bool gives_back) {
  Masks masks;  // on the CPU, where the verdicts are; of several groups one may be
  const auto each_member = [&](const auto& act) {
    for (const UnitGroup& group : units.groups)
      for (const UnitMember& member : group.members)
        if (member.parameter->learned()) act(member, kept.data<uint8_t>() + group.first, group.count);
  };
  each_member([&](const UnitMember& member, const uint8_t* stays, int64_t count) {
    Parameter& parameter = *member.parameter;
    const bool had = parameter.mask.defined(), loses = std::find(stays, stays + count, 0) != stays + count;
    if (!loses && !(had && gives_back)) return;
    const auto [place, is_new] = masks.try_emplace(&parameter);
    Tensor& mask = place->second;
    if (is_new) {
      mask = had ? parameter.mask.clone(Device::cpu) : Tensor::empty(parameter.shape(), DType::u8);
      if (!had) std::ranges::fill(mask.span<uint8_t>(), uint8_t{1});
    }
    if (gives_back)
      member.each_run([&](int64_t, int64_t offset, int64_t length) {
        std::fill_n(mask.data<uint8_t>() + offset, length, uint8_t{1});
      });
  });
  each_member([&](const UnitMember& member, const uint8_t* stays, int64_t) {
    const auto found = masks.find(member.parameter);
    if (found == masks.end()) return;
    member.each_run([&](int64_t unit, int64_t offset, int64_t length) {
      if (!stays[unit]) std::fill_n(found->second.data<uint8_t>() + offset, length, uint8_t{0});
    });
  });
  // First all masks to where the network is: memory may be short there, and then none is set.
  for (auto& [parameter, mask] : masks) mask = mask.to(parameter->value().device());
  return masks;
}

}  // namespace

void apply_masks(const UnitSet& units, const Tensor& kept, bool gives_back) {
  for (auto& [parameter, mask] : masks_of(units, kept, gives_back)) parameter->set_mask(std::move(mask));
}

void zero_units(const UnitSet& units, const Tensor& kept) {
  for (const auto& [parameter, mask] : masks_of(units, kept, false)) {
    Tensor& value = parameter->value();
    ESP_RUN(value.device(), apply_mask(value.f32(), mask.data<uint8_t>(), value.elements()));
  }
}

void remove_masks(Module& model) {
  for (Parameter* parameter : model.parameters()) parameter->remove_mask();
}

}  // namespace espalier

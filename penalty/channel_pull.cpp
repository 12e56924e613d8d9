#include "espalier/penalty/channel_pull.h"

#include <algorithm>

#include "espalier/nn/network.h"
#include "espalier/prune/select.h"

namespace espalier {

PulledGroups::PulledGroups(Module& model, const Shape& input, const PenaltyOptions& options)
    : model_(model), input_(input), include_(options.include), exclude_(options.exclude) {
  find();
}

void PulledGroups::find() {
  groups_ = channel_graph(model_, Network(model_, input_).graph).groups;
  pulled_ = groups_that_may_lose(groups_, include_, exclude_, "regularize");
}

bool PulledGroups::are_stale() const {
  return std::ranges::any_of(groups_, [](const ChannelGroup& group) {
    return std::ranges::any_of(group.members, [](const GroupMember& member) {
      return static_cast<int64_t>(member.channel_of.size()) != member.parameter->shape()[member.axis];
    });
  });
}

bool PulledGroups::follow_cuts() {
  const bool stale = are_stale();
  if (stale) find();
  return stale;
}

namespace {

Tensor doubles(int64_t n, Device device) {
  return Tensor::empty({n * static_cast<int64_t>(sizeof(double))}, DType::u8, device);
}

}  // namespace

ChannelSquares::ChannelSquares(const ChannelMaps& maps) {
  size_t bytes = 0;
  for (const auto& line : maps.parameters)
    bytes = std::max(bytes, ESP_RUN(maps.device, axis_squares_scratch(line.shape)));
  Tensor scratch = Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, maps.device);
  Tensor places = doubles(maps.places, maps.device);
  sums_ = doubles(maps.channels, maps.device);
  auto* const along = static_cast<double*>(places.raw());
  for (const auto& line : maps.parameters)
    ESP_RUN(maps.device, axis_squares(along + line.out, line.in < 0 ? nullptr : along + line.in,
                                      line.parameter->value().f32(), line.shape, scratch.raw()));
  ESP_RUN(maps.device,
          gather_sums(static_cast<double*>(sums_.raw()), along, maps.places_begin.data<int32_t>(),
                      maps.places_of.data<int32_t>(), maps.channels));
}

ChannelPull::ChannelPull(Module& model, const Shape& input, const PenaltyOptions& options)
    : groups_(model, input, options) {}

void ChannelPull::add_gradients(int64_t step) {
  if (groups_.follow_cuts()) {
    maps_.reset();
    forget_channels();
  }
  if (!maps_ || !maps_->fits(groups_.all(), groups_.pulled())) {
    maps_.emplace(groups_.all(), groups_.pulled());
    forget_maps();
  }
  const ChannelMaps& maps = *maps_;
  Tensor by = Tensor::empty({maps.channels}, DType::f32, maps.device);
  coefficients(by.f32(), maps, step);
  Tensor along = Tensor::empty({maps.places}, DType::f32, maps.device);
  ESP_RUN(maps.device, gather_sums(along.f32(), by.f32(), maps.channels_begin.data<int32_t>(),
                                   maps.channels_of.data<int32_t>(), maps.places));
  for (const auto& line : maps.parameters)
    ESP_RUN(maps.device,
            pull(line.parameter->gradient().f32(), line.parameter->value().f32(), along.f32() + line.out,
                 line.in < 0 ? nullptr : along.f32() + line.in, line.shape));
}

}  // namespace espalier

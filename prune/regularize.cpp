#include "espalier/prune/regularize.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "espalier/core/kernels.h"
#include "espalier/nn/network.h"
#include "espalier/prune/score.h"
#include "espalier/util/spelling.h"

namespace espalier {
namespace {

/// n numbers of double precision, which are no dtype of a tensor.
class Doubles {
 public:
  Doubles(int64_t n, Device device)
      : memory_(Tensor::empty({n * static_cast<int64_t>(sizeof(double))}, DType::u8, device)) {}
  double* data() { return static_cast<double*>(memory_.raw()); }

 private:
  Tensor memory_;
};

/// dL/dw += weight sign(w), for all w or where `where` says.
void add_signs(Parameter& parameter, const Tensor& where, double weight) {
  ESP_RUN(parameter.value().device(),
          add_signs(parameter.gradient().f32(), parameter.value().f32(), where.data<uint8_t>(),
                    static_cast<float>(weight), parameter.value().elements()));
}

/// The sum of squares of all that goes with each channel.
Doubles channel_squares(const ChannelMaps& maps) {
  size_t bytes = 0;
  for (const auto& line : maps.parameters)
    bytes = std::max(bytes, ESP_RUN(maps.device, axis_squares_scratch(line.shape)));
  Tensor scratch = Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, maps.device);
  Doubles along(maps.places, maps.device), squares(maps.channels, maps.device);
  for (const auto& line : maps.parameters)
    ESP_RUN(maps.device, axis_squares(along.data() + line.out, line.in < 0 ? nullptr : along.data() + line.in,
                                      line.parameter->value().f32(), line.shape, scratch.raw()));
  ESP_RUN(maps.device, gather_sums(squares.data(), along.data(), maps.places_begin.data<int32_t>(),
                                   maps.places_of.data<int32_t>(), maps.channels));
  return squares;
}

}  // namespace

const std::vector<std::string>& penalty_names() {
  static const std::vector<std::string> names = {"l1",         "bn_scale", "group_lasso",
                                                 "group_norm", "greg1",    "greg2"};
  return names;
}

Penalty penalty_named(const std::string& name) {
  return static_cast<Penalty>(position_of_name("regularize", name, penalty_names()));
}

Regularizer::Regularizer(Module& model, const Shape& input, RegularizeOptions options)
    : model_(model), input_(input), options_(std::move(options)) {
  if (options_.penalty != Penalty::l1) find_groups();
}

void Regularizer::find_groups() {
  groups_ = channel_graph(model_, Network(model_, input_).graph).groups;
  maps_.reset();
  where_.clear();
  pulled_ = groups_that_may_lose(groups_, options_.include, options_.exclude, "regularize");
  const auto has_scale = [](const ChannelGroup& group) {
    return std::ranges::any_of(group.members,
                               [](const GroupMember& m) { return m.parameter->role == Role::scale; });
  };
  bool finds_something = options_.penalty != Penalty::bn_scale;
  for (size_t g = 0; g < groups_.size() && !finds_something; ++g)
    finds_something = pulled_[g] && has_scale(groups_[g]);
  ESP_CHECK(finds_something,
            "regularize: bn_scale finds no scale of a batch norm in the channels that may go");
}

bool Regularizer::groups_are_stale() const {
  return std::ranges::any_of(groups_, [](const ChannelGroup& group) {
    return std::ranges::any_of(group.members, [](const GroupMember& member) {
      return static_cast<int64_t>(member.channel_of.size()) != member.parameter->shape()[member.axis];
    });
  });
}

int64_t Regularizer::parting_steps() const {
  if (options_.penalty != Penalty::greg2) return 0;
  return std::llround((options_.most / 100) / (options_.growth / 10)) * options_.every;
}

/// The lowest by l1 of each group.
ChosenChannels Regularizer::choose() const {
  ChosenChannels chosen;
  const UnitSet channels = units_of(model_, input_, Unit::channel, options_.include, options_.exclude);
  const Tensor scores = score_units(channels, {.criterion = criteria().named("l1")});
  for (const UnitGroup& group : channels.groups) {
    std::vector<int64_t> order(static_cast<size_t>(group.count));
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, {}, [&](int64_t c) { return scores.f32()[group.first + c]; });
    order.resize(static_cast<size_t>(share_count(options_.ratio, group.count)));
    chosen[group.layer] = std::move(order);
  }
  return chosen;
}

/// 1 for the channels that were chosen, 0 for all others; made anew where that changes.
const Tensor& Regularizer::flags_of(const ChosenChannels& chosen) {
  if (flags_.defined() && flagged_ == chosen) return flags_;
  std::vector<float> flags(static_cast<size_t>(maps_->channels));
  for (size_t g = 0; g < groups_.size(); ++g) {
    const auto found = chosen.find(maker_of(groups_[g]));
    if (maps_->first[g] < 0 || found == chosen.end()) continue;
    for (const int64_t c : found->second) {
      ESP_CHECK(c >= 0 && c < groups_[g].channels, "regularize: channel ", c, " of ", found->first,
                " was chosen, which has ", groups_[g].channels);
      flags[static_cast<size_t>(maps_->first[g] + c)] = 1.0f;
    }
  }
  flags_ = Tensor::from({maps_->channels}, flags, maps_->device);
  flagged_ = chosen;
  return flags_;
}

/// Of each channel of the maps.
Tensor Regularizer::coefficients(int64_t step, const ChosenChannels& chosen) {
  const ChannelMaps& maps = *maps_;
  Tensor by = Tensor::empty({maps.channels}, DType::f32, maps.device);
  switch (options_.penalty) {
    case Penalty::group_norm:
      ESP_RUN(maps.device,
              group_norm_pull(by.f32(), channel_squares(maps).data(), maps.members.data<int32_t>(),
                              maps.group_begin.data<int32_t>(), maps.groups, options_.weight));
      break;
    case Penalty::group_lasso:
      ESP_RUN(maps.device,
              group_lasso_pull(by.f32(), channel_squares(maps).data(), options_.weight, maps.channels));
      break;
    case Penalty::greg1:
    case Penalty::greg2: {
      const int64_t parted = parting_steps();
      const double first = parted > 0 ? options_.most / 100 : 0.0;
      if (step < parted) {
        by.fill(static_cast<float>(options_.growth / 10 * static_cast<double>(step / options_.every)));
        break;
      }
      const double grown = options_.growth * static_cast<double>((step - parted) / options_.every);
      ESP_RUN(maps.device,
              scale(by.f32(), flags_of(chosen).f32(),
                    static_cast<float>(std::min(options_.most, first + grown)), maps.channels, false));
      break;
    }
    case Penalty::l1:
    case Penalty::bn_scale:
      break;  // of each number its sign
  }
  return by;
}

/// The signs of the scales of the channels that may go.
void Regularizer::add_signs_of_scales() {
  for (size_t g = 0; g < groups_.size(); ++g) {
    if (!pulled_[g]) continue;
    for (size_t m = 0; m < groups_[g].members.size(); ++m) {
      Parameter& scale = *groups_[g].members[m].parameter;
      if (scale.role == Role::scale && scale.gradient().defined())
        add_signs(scale, where_of(g, m), options_.weight);
    }
  }
}

/// 1 for the indices of a member that are a channel's of its group; made once, where the member is.
const Tensor& Regularizer::where_of(size_t group, size_t member) {
  Tensor& where = where_[{group, member}];
  const GroupMember& of = groups_[group].members[member];
  if (!where.defined() || where.device() != of.parameter->value().device()) {
    std::vector<uint8_t> is;
    for (const int32_t channel : of.channel_of) is.push_back(channel >= 0);
    where = Tensor::from({static_cast<int64_t>(is.size())}, is, of.parameter->value().device());
  }
  return where;
}

void Regularizer::add_gradients(int64_t step, ChosenChannels& chosen) {
  if (options_.penalty == Penalty::l1) {
    for (Parameter* parameter : model_.parameters())
      if (parameter->role == Role::weight && parameter->gradient().defined())
        add_signs(*parameter, Tensor(), options_.weight);
    return;
  }
  if (groups_are_stale()) {
    find_groups();
    chosen.clear();  // channels have other numbers now
  }
  if (options_.penalty == Penalty::bn_scale) return add_signs_of_scales();
  const bool greg = options_.penalty == Penalty::greg1 || options_.penalty == Penalty::greg2;
  if (greg && chosen.empty() && step >= parting_steps()) chosen = choose();
  if (!maps_ || !maps_->fits(groups_, pulled_)) {
    maps_.emplace(groups_, pulled_);
    flags_ = Tensor();
  }
  const ChannelMaps& maps = *maps_;
  const Tensor by = coefficients(step, chosen);
  Tensor along = Tensor::empty({maps.places}, DType::f32, maps.device);
  ESP_RUN(maps.device, gather_sums(along.f32(), by.f32(), maps.channels_begin.data<int32_t>(),
                                   maps.channels_of.data<int32_t>(), maps.places));
  for (const auto& line : maps.parameters)
    ESP_RUN(maps.device,
            pull(line.parameter->gradient().f32(), line.parameter->value().f32(), along.f32() + line.out,
                 line.in < 0 ? nullptr : along.f32() + line.in, line.shape));
}

}  // namespace espalier

#include "espalier/channels/surgery.h"

#include <algorithm>
#include <map>

#include "espalier/core/kernels.h"
#include "espalier/core/plans.h"

namespace espalier {
namespace {

/// The indices `kept` (i64, on x's device) of an axis of x, one after another.
Tensor take(const Tensor& x, int axis, const Tensor& kept) {
  const Shape& shape = x.shape();
  TakeShape s{.outer = 1,
              .axis = shape[axis],
              .count = kept.elements(),
              .inner = static_cast<int64_t>(dtype_bytes(x.dtype()))};
  for (int i = 0; i < axis; ++i) s.outer *= shape[i];
  for (int i = axis + 1; i < shape.axes(); ++i) s.inner *= shape[i];
  Tensor y = x.like(shape.with(axis, s.count));
  ESP_RUN(y.device(), take(y.raw(), x.raw(), kept.data<int64_t>(), s));
  return y;
}

void check(const AxisCut& one, const Parameter& parameter, const Shape& shape) {
  ESP_CHECK(one.axis >= 0 && one.axis < shape.axes() && shape[one.axis] == one.before,
            "surgery: ", one.parameter, " is ", shape, ", expected ", one.before, " along axis ", one.axis,
            ": the cut was made for another model");
  ESP_CHECK(!one.kept.empty(), "surgery: nothing would be left of ", parameter.name);
  ESP_CHECK(one.kept.front() >= 0 && one.kept.back() < one.before &&
                std::ranges::adjacent_find(one.kept, std::greater_equal<>()) == one.kept.end(),
            "surgery: the indices to keep of ", parameter.name, " are not ascending in 0..", one.before - 1);
}

/// Where in `history` the axis of `one` was cut; its end if it was not.
auto of_the_axis(auto& history, const AxisCut& one) {
  return std::ranges::find_if(
      history, [&](const AxisCut& old) { return old.parameter == one.parameter && old.axis == one.axis; });
}

/// Makes one cut of each axis of those made before and those that follow.
void add(std::vector<AxisCut>& history, const std::vector<AxisCut>& cuts) {
  for (const AxisCut& one : cuts) {
    const auto same = of_the_axis(history, one);
    if (same == history.end()) {
      history.push_back(one);
      continue;
    }
    std::vector<int64_t> kept;
    for (const int64_t i : one.kept) kept.push_back(same->kept[static_cast<size_t>(i)]);
    same->kept = std::move(kept);
  }
}

}  // namespace

std::vector<AxisCut> cuts_of(const std::vector<ChannelGroup>& groups,
                             const std::vector<std::vector<uint8_t>>& kept) {
  ESP_CHECK(kept.size() == groups.size(), "surgery: verdicts on ", kept.size(), " groups, the network has ",
            groups.size());
  // Several groups may share an axis: what reads a concatenation loses channels of each.
  std::map<std::pair<Parameter*, int>, std::vector<uint8_t>> stays;
  std::vector<std::pair<Parameter*, int>> order;
  for (size_t g = 0; g < groups.size(); ++g) {
    const ChannelGroup& group = groups[g];
    ESP_CHECK(static_cast<int64_t>(kept[g].size()) == group.channels, "surgery: ", kept[g].size(),
              " verdicts on a group of ", group.channels, " channels");
    if (std::ranges::count(kept[g], 0) == 0) continue;
    const std::string& first = group.members.front().parameter->name;
    ESP_CHECK(group.fixed.empty(), "surgery: the channels of ", first, " are ", group.fixed, " and stay");
    ESP_CHECK(std::ranges::count(kept[g], 0) < group.channels, "surgery: nothing would be left of ", first);
    for (const GroupMember& member : group.members) {
      const std::pair<Parameter*, int> axis{member.parameter, member.axis};
      const auto [place, fresh] = stays.try_emplace(axis, member.channel_of.size(), uint8_t{1});
      if (fresh) order.push_back(axis);
      for (size_t i = 0; i < member.channel_of.size(); ++i)
        if (member.channel_of[i] >= 0) place->second[i] &= kept[g][member.channel_of[i]];
    }
  }
  std::vector<AxisCut> cuts;
  for (const auto& axis : order) {
    const std::vector<uint8_t>& verdicts = stays.at(axis);
    AxisCut one{axis.first->name, axis.second, static_cast<int64_t>(verdicts.size()), {}};
    for (size_t i = 0; i < verdicts.size(); ++i)
      if (verdicts[i]) one.kept.push_back(static_cast<int64_t>(i));
    cuts.push_back(std::move(one));
  }
  return cuts;
}

void zero_channels(const std::vector<ChannelGroup>& groups, const std::vector<std::vector<uint8_t>>& kept,
                   const std::vector<char>& folds) {
  for (size_t g = 0; g < groups.size(); ++g)
    for (const GroupMember& member : groups[g].members) {
      const Role role = member.parameter->role;
      const bool shift = role == Role::bias || role == Role::shift, folded = !folds.empty() && folds[g];
      if (!member.parameter->learned() || (folded && (shift || !member.out))) continue;
      Tensor value = member.parameter->value().to(Device::cpu);
      const int64_t axis = value.shape()[member.axis];
      int64_t inner = 1;
      for (int i = member.axis + 1; i < value.shape().axes(); ++i) inner *= value.shape()[i];
      for (int64_t i = 0; i < value.elements() / inner; ++i) {
        const int32_t channel = member.channel_of[static_cast<size_t>(i % axis)];
        if (channel >= 0 && !kept[g][static_cast<size_t>(channel)])
          std::fill_n(value.f32() + i * inner, inner, 0.0f);
      }
      member.parameter->value().copy_from(value);
    }
}

std::vector<AxisCut> cuts_between(const std::vector<AxisCut>& made, const std::vector<AxisCut>& wanted) {
  std::vector<AxisCut> cuts;
  for (const AxisCut& one : wanted) {
    const auto same = of_the_axis(made, one);
    if (same == made.end()) {
      cuts.push_back(one);
      continue;
    }
    AxisCut rest{one.parameter, one.axis, static_cast<int64_t>(same->kept.size()), {}};
    for (const int64_t index : one.kept) {
      const auto at = std::ranges::lower_bound(same->kept, index);
      ESP_CHECK(at != same->kept.end() && *at == index, "surgery: index ", index, " of ", one.parameter,
                " along axis ", one.axis, " has been cut already");
      rest.kept.push_back(at - same->kept.begin());
    }
    if (static_cast<int64_t>(rest.kept.size()) < rest.before) cuts.push_back(std::move(rest));
  }
  return cuts;
}

Transaction::Transaction(Module& model) : model_(model), history_(model.history) {
  // All but these are written in place (masking, folding, loading), which are replaced at most.
  const auto in_place = [](TensorUse use) { return use != TensorUse::gradient && use != TensorUse::mask; };
  for (Parameter* p : model.parameters()) {
    NamedState& old = before_.emplace_back(Before{p, p->tensors()}).tensors;
    for (auto& [name, tensor] : old)
      if (in_place(use_of(name))) tensor = tensor.clone();
  }
}

Transaction::~Transaction() {
  if (before_.empty()) return;
  for (Before& old : before_) old.parameter->set_tensors(std::move(old.tensors));
  model_.history = std::move(history_);
}

void cut(Module& model, const std::vector<AxisCut>& cuts) {
  std::map<std::string, Parameter*> parameters;
  for (Parameter* parameter : model.parameters()) parameters[parameter->name] = parameter;
  // First all new tensors beside the old ones; what throws, throws here.
  std::map<Parameter*, NamedState> fresh;
  for (const AxisCut& one : cuts) {
    const auto found = parameters.find(one.parameter);
    ESP_CHECK(found != parameters.end(), "surgery: the model has no parameter ", one.parameter,
              ": the cut was made for another model");
    Parameter& parameter = *found->second;
    auto [place, first] = fresh.try_emplace(&parameter);
    NamedState& tensors = place->second;
    if (first) tensors = parameter.tensors();
    const Tensor& value = tensors.at("value");
    check(one, parameter, value.shape());
    const Tensor kept = Tensor::from({static_cast<int64_t>(one.kept.size())}, one.kept, value.device());
    for (auto& [name, tensor] : tensors) tensor = take(tensor, one.axis, kept);
  }
  for (auto& [parameter, tensors] : fresh) parameter->set_tensors(std::move(tensors));
  add(model.history, cuts);
  if (!cuts.empty()) shapes_changed();
}

}  // namespace espalier

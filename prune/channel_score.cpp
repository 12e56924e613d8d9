#include "espalier/prune/channel_score.h"

#include <algorithm>
#include <cmath>

#include "espalier/core/parallel.h"
#include "espalier/prune/names.h"

namespace espalier {
namespace {

bool has_a_say(const GroupMember& member, Voices voices) {
  const Role role = member.parameter->role;
  switch (voices) {
    case Voices::all:
      return role == Role::weight || role == Role::scale;
    case Voices::makers:
      return role == Role::weight && member.out;
    case Voices::scales:
      return role == Role::scale;
    case Voices::nothing:
      break;
  }
  return false;
}

/// The channels that a member has, and the indices of its axis that each stands for.
struct Indices {
  std::vector<int64_t> channel;  // of the group, ascending: all, or some of a layer beside others
  std::vector<int64_t> begin;    // of each of them in `index`, and the end
  std::vector<int64_t> index;
  int64_t most = 0;  // of a channel

  Indices(const GroupMember& member, int64_t channels) {
    std::vector<std::vector<int64_t>> of(static_cast<size_t>(channels));
    for (size_t i = 0; i < member.channel_of.size(); ++i)
      if (member.channel_of[i] >= 0)
        of[static_cast<size_t>(member.channel_of[i])].push_back(static_cast<int64_t>(i));
    for (size_t c = 0; c < of.size(); ++c) {
      if (of[c].empty()) continue;
      channel.push_back(static_cast<int64_t>(c));
      begin.push_back(static_cast<int64_t>(index.size()));
      index.insert(index.end(), of[c].begin(), of[c].end());
      most = std::max(most, static_cast<int64_t>(of[c].size()));
    }
    begin.push_back(static_cast<int64_t>(index.size()));
  }
};

/// A member as a matrix: a row for each of its channels, of all numbers that go with it, zeros behind those
/// that have fewer.
class Rows {
 public:
  Rows(const GroupMember& member, int64_t channels)
      : indices_(member, channels), axis_(member.parameter->shape()[member.axis]) {
    const Shape& shape = member.parameter->shape();
    for (int i = 0; i < member.axis; ++i) outer_ *= shape[i];
    for (int i = member.axis + 1; i < shape.axes(); ++i) inner_ *= shape[i];
  }

  /// The channel of each row.
  const std::vector<int64_t>& channels() const { return indices_.channel; }
  int64_t size() const { return indices_.most * outer_ * inner_; }

  /// Rows begin..end of `from`, which has the parameter's shape.
  void copy(const float* from, int64_t begin, int64_t end, float* to) const {
    const int64_t row = size();
    std::fill_n(to, (end - begin) * row, 0.0f);
    for (int64_t o = 0; o < outer_; ++o, from += axis_ * inner_)
      for (int64_t c = begin; c < end; ++c) {
        float* at = to + (c - begin) * row + o * indices_.most * inner_;
        for (int64_t i = indices_.begin[c]; i < indices_.begin[c + 1]; ++i, at += inner_)
          std::copy_n(from + indices_.index[i] * inner_, inner_, at);
      }
  }

 private:
  Indices indices_;
  int64_t axis_, outer_ = 1, inner_ = 1;
};

/// The scores of a member's channels, row by row, each as a unit of its own.
std::vector<float> score_rows(const Rows& rows, const Parameter& parameter, const ChannelScoring& scoring,
                              const Signals& signals) {
  const Criterion& criterion = scoring.criterion;
  const auto channels = static_cast<int64_t>(rows.channels().size());
  const Tensor weights = parameter.value().to(Device::cpu);
  const float *const w = weights.f32(), *const g2 = signals.of(criterion, parameter, Looks::at_gradients),
                     *const h = signals.of(criterion, parameter, Looks::at_curvature);
  std::vector<float> scores(static_cast<size_t>(channels));
  const auto score = [&](int64_t begin, int64_t end) {
    std::vector<float> copies[3];
    const auto copied = [&](const float* from, std::vector<float>& to) -> const float* {
      if (!from) return nullptr;
      to.resize(static_cast<size_t>((end - begin) * rows.size()));
      rows.copy(from, begin, end, to.data());
      return to.data();
    };
    criterion.score({scores.data() + begin, scores.data() + end}, {.w = copied(w, copies[0]),
                                                                   .size = rows.size(),
                                                                   .key = score_key(scoring.seed),
                                                                   .first = begin,
                                                                   .g2 = copied(g2, copies[1]),
                                                                   .h = copied(h, copies[2])});
  };
  if (criterion.together) {
    score(0, channels);
    return scores;
  }
  constexpr int64_t block =
      16;  // channels that are copied at a time: as many cache lines are written in turn
  parallel_for((channels + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) score(b * block, std::min(channels, (b + 1) * block));
  });
  return scores;
}

/// The scores of a group's channels as they grow, member by member.
class Reduced {
 public:
  Reduced(int64_t channels, Reduction reduction)
      : reduction_(reduction),
        scores_(static_cast<size_t>(channels)),
        members_(static_cast<size_t>(channels)) {}

  void add(const std::vector<int64_t>& channels, const std::vector<float>& scores) {
    for (size_t i = 0; i < channels.size(); ++i) {
      const auto c = static_cast<size_t>(channels[i]);
      if (members_[c]++ == 0)
        scores_[c] = scores[i];
      else if (reduction_ == Reduction::max)
        scores_[c] = std::max(scores_[c], scores[i]);
      else if (reduction_ != Reduction::first)
        scores_[c] += scores[i];
    }
  }

  /// A channel that no member had; -1: none.
  int64_t without_a_score() const {
    const auto none = std::ranges::find(members_, 0);
    return none == members_.end() ? -1 : none - members_.begin();
  }

  /// A mean is of the members that have the channel.
  std::vector<float> end() && {
    for (size_t c = 0; c < scores_.size(); ++c)
      if (reduction_ == Reduction::mean && members_[c] > 1) scores_[c] /= static_cast<float>(members_[c]);
    return std::move(scores_);
  }

 private:
  Reduction reduction_;
  std::vector<float> scores_;
  std::vector<int64_t> members_;  // so far, of each channel
};

/// The layer that makes a channel, by its weight.
const std::string& maker_of(const ChannelGroup& group, int64_t channel) {
  const auto maker = std::ranges::find_if(group.members, [&](const GroupMember& member) {
    return member.out && std::ranges::count(member.channel_of, static_cast<int32_t>(channel)) > 0;
  });
  return (maker == group.members.end() ? group.members.begin() : maker)->parameter->name;
}

[[noreturn]] void fail_silent(const Criterion& criterion, const std::string& maker) {
  if (criterion.voices == Voices::scales)
    fail("prune: criterion ", criterion.name, " goes by batch norms, and there is none behind ",
         layer_name(maker));
  fail("prune: criterion ", criterion.name, " finds nothing to look at in the group of ", maker);
}

std::vector<float> score_group(const ChannelGroup& group, uint64_t number, const ChannelScoring& scoring,
                               const Signals& signals) {
  const Criterion& criterion = scoring.criterion;
  std::vector<float> scores;
  if (criterion.voices == Voices::nothing) {
    scores.resize(static_cast<size_t>(group.channels));
    criterion.score(scores, {.w = nullptr,
                             .size = 0,
                             .key = score_key(scoring.seed),
                             .first = static_cast<int64_t>(number << 32)});
  } else {
    Reduced reduced(group.channels, scoring.reduction);
    for (const GroupMember& member : group.members) {
      if (!has_a_say(member, criterion.voices)) continue;
      if (scoring.reduction == Reduction::first && reduced.without_a_score() < 0) break;
      const Rows rows(member, group.channels);
      reduced.add(rows.channels(), score_rows(rows, *member.parameter, scoring, signals));
    }
    const int64_t silent = reduced.without_a_score();
    if (silent >= 0) fail_silent(criterion, maker_of(group, silent));
    scores = std::move(reduced).end();
  }
  for (size_t c = 0; c < scores.size(); ++c)
    ESP_CHECK(std::isfinite(scores[c]), maker_of(group, static_cast<int64_t>(c)), ": channel ", c, " scores ",
              scores[c], " by ", criterion.name, ", expected a finite score");
  if (criterion.relate) criterion.relate(scores);
  normalize(scores, scoring.normalizer);
  return scores;
}

}  // namespace

const std::vector<std::string>& reduction_names() {
  static const std::vector<std::string> names = {"mean", "sum", "max", "first"};
  return names;
}

Reduction reduction_named(const std::string& name) {
  return static_cast<Reduction>(position_of_name("reduction", name, reduction_names()));
}

std::vector<std::vector<float>> score_channels(const std::vector<ChannelGroup>& groups,
                                               const ChannelScoring& scoring, const Signals& signals) {
  std::vector<std::vector<float>> scores;
  for (size_t g = 0; g < groups.size(); ++g)
    scores.push_back(groups[g].fixed.empty()
                         ? score_group(groups[g], g, scoring, signals)
                         : std::vector<float>(static_cast<size_t>(groups[g].channels), 0.0f));
  return scores;
}

}  // namespace espalier

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

/// The indices of a member's axis by the channel they belong to.
struct Indices {
  std::vector<int64_t> begin;  // of each channel in `index`, and the end
  std::vector<int64_t> index;
  int64_t most = 0;  // of a channel

  Indices(const GroupMember& member, int64_t channels) : begin(static_cast<size_t>(channels) + 1) {
    for (const int32_t channel : member.channel_of)
      if (channel >= 0) ++begin[static_cast<size_t>(channel) + 1];
    for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
      most = std::max(most, begin[c + 1]);
      begin[c + 1] += begin[c];
    }
    index.resize(static_cast<size_t>(begin.back()));
    std::vector<int64_t> at = begin;
    for (size_t i = 0; i < member.channel_of.size(); ++i)
      if (member.channel_of[i] >= 0)
        index[static_cast<size_t>(at[static_cast<size_t>(member.channel_of[i])]++)] = static_cast<int64_t>(i);
  }
};

/// A member as a matrix: a row for each channel, of all numbers that go with it, zeros behind those that have
/// fewer.
class Rows {
 public:
  Rows(const GroupMember& member, int64_t channels)
      : indices_(member, channels), axis_(member.parameter->shape()[member.axis]) {
    const Shape& shape = member.parameter->shape();
    for (int i = 0; i < member.axis; ++i) outer_ *= shape[i];
    for (int i = member.axis + 1; i < shape.axes(); ++i) inner_ *= shape[i];
  }

  int64_t size() const { return indices_.most * outer_ * inner_; }

  /// The rows of channels begin..end of `from`, which has the parameter's shape.
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

/// The scores of a member's channels, each as a unit of its own.
std::vector<float> score_member(const GroupMember& member, int64_t channels, const ChannelScoring& scoring,
                                const Signals& signals) {
  const Criterion& criterion = scoring.criterion;
  const Parameter& parameter = *member.parameter;
  const Rows rows(member, channels);
  const float *const w = parameter.value().f32(),
                     *const dw = signals.of(criterion, parameter, Looks::at_gradients),
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
                                                                   .dw = copied(dw, copies[1]),
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

void reduce(std::vector<float>& sum, const std::vector<float>& one, Reduction reduction) {
  for (size_t c = 0; c < sum.size(); ++c)
    sum[c] = reduction == Reduction::max ? std::max(sum[c], one[c]) : sum[c] + one[c];
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
  }
  int64_t members = 0;
  for (const GroupMember& member : group.members) {
    if (!has_a_say(member, criterion.voices)) continue;
    if (members > 0 && scoring.reduction == Reduction::first) break;
    std::vector<float> one = score_member(member, group.channels, scoring, signals);
    if (members++ == 0)
      scores = std::move(one);
    else
      reduce(scores, one, scoring.reduction);
  }
  const std::string& maker = group.members.front().parameter->name;
  ESP_CHECK(!scores.empty(), "prune: criterion ", criterion.name,
            " finds nothing to look at in the group of ", maker);
  for (size_t c = 0; c < scores.size(); ++c)
    ESP_CHECK(std::isfinite(scores[c]), maker, ": channel ", c, " scores ", scores[c], " by ", criterion.name,
              ", expected a finite score");
  if (scoring.reduction == Reduction::mean && members > 1)
    for (float& score : scores) score /= static_cast<float>(members);
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

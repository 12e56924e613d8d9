#include "espalier/prune/regularize.h"

#include <algorithm>
#include <cmath>

#include "espalier/core/parallel.h"
#include "espalier/nn/network.h"
#include "espalier/prune/channel_score.h"
#include "espalier/prune/names.h"

namespace espalier {
namespace {

/// A number for each index along a parameter's output axis, which is its first, and its input axis, its last.
template <class T>
struct AlongAxes {
  explicit AlongAxes(const Parameter& parameter)
      : out(static_cast<size_t>(parameter.shape()[0])),
        in(parameter.shape().axes() > 1 ? static_cast<size_t>(parameter.shape()[-1]) : 0) {}
  std::vector<T>& of(const GroupMember& member) { return member.axis == 0 ? out : in; }

  std::vector<T> out, in;
};

/// Sums of squares of the rows and of the columns, in one pass over w [O,..,I].
AlongAxes<double> squares_of(const Parameter& parameter) {
  AlongAxes<double> sums(parameter);
  const auto rows = static_cast<int64_t>(sums.out.size()), columns = static_cast<int64_t>(sums.in.size());
  const float* w = parameter.value().f32();
  if (columns == 0) {
    for (int64_t o = 0; o < rows; ++o) sums.out[static_cast<size_t>(o)] = static_cast<double>(w[o]) * w[o];
    return sums;
  }
  const int64_t row = parameter.value().elements() / rows;
  const int parts = parts_for(rows, std::max<int64_t>(1, 65536 / row));
  std::vector<std::vector<float>> of_part(static_cast<size_t>(parts));
  parallel_parts(parts, [&](int part) {
    std::vector<float>& in = of_part[static_cast<size_t>(part)];
    in.resize(static_cast<size_t>(columns));
    const Range range = part_of(rows, part, parts);
    for (int64_t o = range.begin; o < range.end; ++o) {
      double sum = 0;
      for (const float* at = w + o * row; at != w + (o + 1) * row; at += columns) {
        float here = 0;
        for (int64_t i = 0; i < columns; ++i) {
          const float square = at[i] * at[i];
          in[static_cast<size_t>(i)] += square;
          here += square;
        }
        sum += here;
      }
      sums.out[static_cast<size_t>(o)] = sum;
    }
  });
  for (const auto& in : of_part)
    for (size_t i = 0; i < in.size(); ++i) sums.in[i] += in[i];
  return sums;
}

/// dw [O,..,I] += (out[o] + in[i]) w.
void pull(Parameter& parameter, const AlongAxes<float>& by) {
  const auto rows = static_cast<int64_t>(by.out.size());
  const int64_t row = parameter.value().elements() / rows,
                columns = std::max<int64_t>(1, static_cast<int64_t>(by.in.size()));
  const float *w = parameter.value().f32(), *in = by.in.empty() ? nullptr : by.in.data();
  float* dw = parameter.gradient().f32();
  parallel_for(rows, std::max<int64_t>(1, 65536 / row), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      const float out = by.out[static_cast<size_t>(o)];
      for (int64_t at = o * row; at < (o + 1) * row; at += columns)
        for (int64_t i = 0; i < columns; ++i) dw[at + i] += (out + (in ? in[i] : 0.0f)) * w[at + i];
    }
  });
}

float sign(float w) { return w > 0 ? 1.0f : w < 0 ? -1.0f : 0.0f; }

void add_signs(Parameter& parameter, float weight) {
  const float* w = parameter.value().f32();
  float* dw = parameter.gradient().f32();
  parallel_for(parameter.value().elements(), 65536, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) dw[i] += weight * sign(w[i]);
  });
}

/// The same for the scales of a group's channels.
void add_signs_of_scales(const ChannelGroup& group, float weight) {
  for (const GroupMember& member : group.members) {
    if (member.parameter->role != Role::scale || !member.parameter->gradient().defined()) continue;
    const float* gamma = member.parameter->value().f32();
    float* dgamma = member.parameter->gradient().f32();
    for (size_t i = 0; i < member.channel_of.size(); ++i)
      if (member.channel_of[i] >= 0) dgamma[i] += weight * sign(gamma[i]);
  }
}

/// Adds one to each channel that the member has, be it with one index or several.
void count_channels(const GroupMember& member, std::vector<int64_t>& members) {
  std::vector<char> has(members.size());
  for (const int32_t channel : member.channel_of)
    if (channel >= 0) has[static_cast<size_t>(channel)] = 1;
  for (size_t c = 0; c < has.size(); ++c) members[c] += has[c];
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
  groups_ = channel_graph(model_, Network(model_, input_).tape).groups;
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
  const auto scores =
      score_channels(groups_, {.criterion = criterion_named("l1"), .normalizer = Normalizer::none});
  for (size_t g = 0; g < groups_.size(); ++g) {
    if (!pulled_[g]) continue;
    std::vector<int64_t> order(scores[g].size());
    for (size_t c = 0; c < order.size(); ++c) order[c] = static_cast<int64_t>(c);
    std::ranges::stable_sort(order, {}, [&](int64_t c) { return scores[g][static_cast<size_t>(c)]; });
    order.resize(static_cast<size_t>(std::llround(options_.ratio * static_cast<double>(order.size()))));
    chosen[maker_of(groups_[g])] = std::move(order);
  }
  return chosen;
}

/// Of each channel of a group; `squares` are sums over the `members` that have it.
std::vector<float> Regularizer::coefficients(size_t group, int64_t step, const std::vector<double>& squares,
                                             const std::vector<int64_t>& members,
                                             const ChosenChannels& chosen) const {
  std::vector<float> result(squares.size());
  const double weight = options_.weight;
  switch (options_.penalty) {
    case Penalty::group_norm: {
      std::vector<double> norms;
      for (size_t c = 0; c < squares.size(); ++c)
        norms.push_back(std::sqrt(squares[c] / static_cast<double>(std::max<int64_t>(members[c], 1))));
      const auto [min, max] = std::ranges::minmax(norms);
      for (size_t c = 0; c < norms.size(); ++c)
        result[c] = static_cast<float>(weight * (max > min ? std::exp2(4 * (max - norms[c]) / (max - min))
                                                           : 1.0));  // all alike: as weak
      break;
    }
    case Penalty::group_lasso:
      for (size_t c = 0; c < squares.size(); ++c)
        result[c] = squares[c] > 0 ? static_cast<float>(weight / std::sqrt(squares[c])) : 0.0f;
      break;
    case Penalty::greg1:
    case Penalty::greg2: {
      const int64_t parted = parting_steps();
      const double first = parted > 0 ? options_.most / 100 : 0.0;
      if (step < parted) {
        std::ranges::fill(
            result, static_cast<float>(options_.growth / 10 * static_cast<double>(step / options_.every)));
        break;
      }
      const double grown = options_.growth * static_cast<double>((step - parted) / options_.every);
      if (const auto found = chosen.find(maker_of(groups_[group])); found != chosen.end())
        for (const int64_t c : found->second) {
          ESP_CHECK(c >= 0 && c < static_cast<int64_t>(result.size()), "regularize: channel ", c, " of ",
                    found->first, " was chosen, which has ", result.size());
          result[static_cast<size_t>(c)] = static_cast<float>(std::min(options_.most, first + grown));
        }
      break;
    }
    case Penalty::l1:
    case Penalty::bn_scale:
      break;  // of each number its sign
  }
  return result;
}

void Regularizer::add_gradients(int64_t step, ChosenChannels& chosen) {
  if (options_.penalty == Penalty::l1) {
    for (Parameter* parameter : model_.parameters())
      if (parameter->role == Role::weight && parameter->gradient().defined())
        add_signs(*parameter, static_cast<float>(options_.weight));
    return;
  }
  if (groups_are_stale()) {
    find_groups();
    chosen.clear();  // channels have other numbers now
  }
  if (options_.penalty == Penalty::bn_scale) {
    for (size_t g = 0; g < groups_.size(); ++g)
      if (pulled_[g]) add_signs_of_scales(groups_[g], static_cast<float>(options_.weight));
    return;
  }
  const bool greg = options_.penalty == Penalty::greg1 || options_.penalty == Penalty::greg2;
  if (greg && chosen.empty() && step >= parting_steps()) chosen = choose();

  const auto concerns = [&](const GroupMember& member) {
    const Role role = member.parameter->role;
    return (role == Role::scale || role == Role::weight) && member.parameter->gradient().defined();
  };
  std::map<Parameter*, AlongAxes<double>> squares;
  std::map<Parameter*, AlongAxes<float>> pulls;
  for (size_t g = 0; g < groups_.size(); ++g) {
    if (!pulled_[g]) continue;
    std::vector<double> sums(static_cast<size_t>(groups_[g].channels));
    std::vector<int64_t> members(sums.size());
    for (const GroupMember& member : groups_[g].members) {
      if (!concerns(member)) continue;
      count_channels(member, members);
      if (greg) continue;  // its coefficients do not look at weights
      const auto found = squares.find(member.parameter);
      AlongAxes<double>& along =
          found != squares.end()
              ? found->second
              : squares.emplace(member.parameter, squares_of(*member.parameter)).first->second;
      for (size_t i = 0; i < member.channel_of.size(); ++i)
        if (member.channel_of[i] >= 0) sums[static_cast<size_t>(member.channel_of[i])] += along.of(member)[i];
    }
    const std::vector<float> by = coefficients(g, step, sums, members, chosen);
    for (const GroupMember& member : groups_[g].members) {
      if (!concerns(member)) continue;
      auto& along = pulls.try_emplace(member.parameter, *member.parameter).first->second.of(member);
      for (size_t i = 0; i < member.channel_of.size(); ++i)
        if (member.channel_of[i] >= 0) along[i] += by[static_cast<size_t>(member.channel_of[i])];
    }
  }
  for (auto& [parameter, by] : pulls) pull(*parameter, by);
}

}  // namespace espalier

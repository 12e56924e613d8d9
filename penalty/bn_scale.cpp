// Penalty bn_scale (slimming): dL/dgamma += weight sign(gamma), for the scales of norms of coupled channels.
#include <algorithm>
#include <map>
#include <utility>

#include "espalier/penalty/channel_pull.h"
#include "espalier/penalty/signs.h"

namespace espalier {
namespace {

class BnScalePenalty : public Penalty {
 public:
  BnScalePenalty(Module& model, const Shape& input, const PenaltyOptions& options)
      : groups_(model, input, options), weight_(options.weight) {
    expect_scales();
  }

  void add_gradients(int64_t) override {
    if (groups_.follow_cuts()) {
      where_.clear();
      expect_scales();
    }
    for (size_t g = 0; g < groups_.all().size(); ++g) {
      if (!groups_.pulled()[g]) continue;
      const auto& members = groups_.all()[g].members;
      for (size_t m = 0; m < members.size(); ++m) {
        Parameter& scale = *members[m].parameter;
        if (scale.role == Role::scale && scale.gradient().defined())
          add_signs(scale, where_of(g, m), weight_);
      }
    }
  }

 private:
  void expect_scales() const {
    const auto is_scale = [](const GroupMember& member) { return member.parameter->role == Role::scale; };
    bool finds_something = false;
    for (size_t g = 0; g < groups_.all().size() && !finds_something; ++g)
      finds_something = groups_.pulled()[g] && std::ranges::any_of(groups_.all()[g].members, is_scale);
    ESP_CHECK(finds_something,
              "regularize: bn_scale finds no scale of a batch norm in the channels that may go");
  }

  /// 1 for the indices of a member that are a channel's of its group; made once, where the member is.
  const Tensor& where_of(size_t group, size_t member) {
    Tensor& where = where_[{group, member}];
    const GroupMember& of = groups_.all()[group].members[member];
    if (!where.defined() || where.device() != of.parameter->value().device()) {
      std::vector<uint8_t> is;
      for (const int32_t channel : of.channel_of) is.push_back(channel >= 0);
      where = Tensor::from({static_cast<int64_t>(is.size())}, is, of.parameter->value().device());
    }
    return where;
  }

  PulledGroups groups_;
  double weight_;
  std::map<std::pair<size_t, size_t>, Tensor> where_;  // u8, by group and member
};

}  // namespace

PenaltyInfo bn_scale() {
  return {.name = "bn_scale",
          .help = "the sum of the magnitudes of batch norms' scales (slimming)",
          .paper =
              "Liu, Li, Shen, Huang, Yan, Zhang: Learning Efficient Convolutional Networks through Network "
              "Slimming, ICCV 2017",
          .options = {"weight", "include", "exclude"},
          .make = new_penalty<BnScalePenalty>};
}

}  // namespace espalier

// Penalty group_norm: each number w that goes with a channel is pulled by w weight 2^(4 (max - ||c||) /
// (max - min)), where ||c|| is the root of the mean over a channel's members of their sums of squares, and
// max and min are over the group's channels: 1 to 16 times weight, the harder the weaker a channel is.
#include "espalier/penalty/channel_pull.h"

namespace espalier {
namespace {

class GroupNormPenalty : public ChannelPull {
 public:
  GroupNormPenalty(Module& model, const Shape& input, const PenaltyOptions& options)
      : ChannelPull(model, input, options), weight_(options.weight) {}

 protected:
  void coefficients(float* by, const ChannelMaps& maps, int64_t) override {
    const ChannelSquares squares(maps);
    ESP_RUN(maps.device, group_norm_pull(by, squares.data(), maps.members.data<int32_t>(),
                                         maps.group_begin.data<int32_t>(), maps.groups, weight_));
  }

 private:
  double weight_;
};

}  // namespace

PenaltyInfo group_norm() {
  return {.name = "group_norm",
          .help = "pulls at coupled channels, at a group's weakest sixteen times as hard as at its strongest",
          .paper = "Fang, Ma, Song, Mi, Wang: DepGraph: Towards Any Structural Pruning, CVPR 2023",
          .options = {"weight", "include", "exclude"},
          .make = new_penalty<GroupNormPenalty>};
}

}  // namespace espalier

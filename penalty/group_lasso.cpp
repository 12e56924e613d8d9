// Penalty group_lasso: each number w that goes with a channel is pulled by w weight / (root of the sum of all
// squares of the channel), the gradient of weight times the sum of the channels' norms.
#include "espalier/penalty/channel_pull.h"

namespace espalier {
namespace {

class GroupLassoPenalty : public ChannelPull {
 public:
  GroupLassoPenalty(Module& model, const Shape& input, const PenaltyOptions& options)
      : ChannelPull(model, input, options), weight_(options.weight) {}

 protected:
  void coefficients(float* by, const ChannelMaps& maps, int64_t) override {
    const ChannelSquares squares(maps);
    ESP_RUN(maps.device, group_lasso_pull(by, squares.data(), weight_, maps.channels));
  }

 private:
  double weight_;
};

}  // namespace

PenaltyInfo group_lasso() {
  return {.name = "group_lasso",
          .help = "the sum of the norms of coupled channels",
          .paper = "Wen, Wu, Wang, Chen, Li: Learning Structured Sparsity in Deep Neural Networks, NIPS 2016",
          .options = {"weight", "include", "exclude"},
          .make = new_penalty<GroupLassoPenalty>};
}

}  // namespace espalier

// Pruning as a book, step 6, regularize: penalties that prepare a network to lose channels. Two
// add a sign:
//   l1           dL/dw += weight sign(w), for all weights of convolutions and linear layers
//   bn_scale     dL/dgamma += weight sign(gamma), for the scales of norms of coupled channels (slimming)
//                Liu, Li, Shen, Huang, Yan, Zhang: Learning Efficient Convolutional Networks through Network
//                Slimming, ICCV 2017
// The others pull at every number that goes with a channel by one coefficient of that channel's: dL/dw +=
// coefficient w, for the weights that make it, the weights that read it and the scales of norms. They differ
// in the coefficient alone; with ||c|| the root of the mean over a channel's members of their sums of
// squares:
//   group_norm   weight 2^(4 (max - ||c||) / (max - min)), max and min over the group's channels: 1 to 16
//                weight; the weaker a channel, the harder it is pulled
//                Fang, Ma, Song, Mi, Wang: DepGraph: Towards Any Structural Pruning, CVPR 2023
//   group_lasso  weight / (root of the sum of all squares of the channel): the gradient of the sum of norms
//                Wen, Wu, Wang, Chen, Li: Learning Structured Sparsity in Deep Neural Networks, NIPS 2016
//   greg1        0 for what stays; for the share `ratio` of each group with the lowest l1, chosen at the
//                start, `growth` more every `every` steps, up to `most`
//   greg2        first `growth` / 10 more for all channels, up to `most` / 100, so that they part by
//                curvature; then that share is chosen, and goes on as in greg1
//                Wang, Qin, Zhang, Fu: Neural Pruning via Growing Regularization, ICLR 2021
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "espalier/channels/channel_maps.h"
#include "espalier/prune/select.h"

namespace espalier {

enum class Penalty : uint8_t { l1, bn_scale, group_lasso, group_norm, greg1, greg2 };
const std::vector<std::string>& penalty_names();
Penalty penalty_named(const std::string& name);

struct RegularizeOptions {
  Penalty penalty = Penalty::group_norm;
  double weight = 5e-4;  ///< all but greg1 and greg2
  double ratio = 0.5, growth = 1e-4, most = 1.0;
  int64_t every = 5;                                    ///< steps
  std::vector<std::string> include = {}, exclude = {};  ///< as in PruneOptions
};

/// What greg1 and greg2 have chosen to push out: channels of groups, by the first layer that makes them.
using ChosenChannels = std::map<std::string, std::vector<int64_t>>;

class Regularizer {
 public:
  /// Error for an entry of include or exclude that names no layer. `input` is one image's shape.
  Regularizer(Module& model, const Shape& input, RegularizeOptions options);

  /// Adds the penalty's gradient to what backward left; `step` counts from 0. Works out the groups anew where
  /// channels were cut since. `chosen` is what greg1 and greg2 chose before, none at first; it is theirs to
  /// fill, and to be saved with a checkpoint. On a GPU the host waits where they choose, and nowhere else.
  void add_gradients(int64_t step, ChosenChannels& chosen);

 private:
  void find_groups();
  bool groups_are_stale() const;
  ChosenChannels choose() const;
  int64_t parting_steps() const;  // of greg2: as long as it pulls at all
  Tensor coefficients(int64_t step, const ChosenChannels& chosen);
  const Tensor& flags_of(const ChosenChannels& chosen);
  void add_signs_of_scales();
  const Tensor& where_of(size_t group, size_t member);

  Module& model_;
  Shape input_;
  RegularizeOptions options_;
  std::vector<ChannelGroup> groups_;
  std::vector<char> pulled_;  // groups that are
  // Where the network is:
  std::optional<ChannelMaps> maps_;                    // of the groups that are pulled
  Tensor flags_;                                       // f32, of each channel of the maps
  ChosenChannels flagged_;                             // for which
  std::map<std::pair<size_t, size_t>, Tensor> where_;  // u8, by group and member
};

}  // namespace espalier

// Pruning as a book, step 8, regrow: masks that move while a network trains (dynamic sparse training). Every
// so many steps each layer drops the smallest of its weights and as many others come back from 0. A method is
// one row of the table in regrow.cpp: what grows, how much of it in which layer, and whether a move takes the
// place of that step's update; when and how much is RegrowSchedule. Methods that train all weights and let
// the mask follow are rows, too: straight_through.h.
//
// A worked example, rigl: weights 4 -1 3 0 0 0, of which the mask keeps the first three, gradients
// 9 5 1 -6 2 7, a third drops: one of three, the -1. Of what is masked then, -1 0 0 0, the largest |gradient|
// is 7: the last one grows. What has just been dropped might have, too: its gradient is 5.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "espalier/nn/module.h"
#include "espalier/prune/schedule.h"
#include "espalier/util/extra_options.h"
#include "espalier/util/registry.h"

namespace espalier {

/// What growth sees of a layer of n weights, on the CPU.
struct GrowInputs {
  std::span<const float> gradient;  ///< [n], dL/dw of this step, also of masked weights; empty: not asked for
  std::span<const float> average;   ///< [n], the moving average of these; empty: not asked for
  uint64_t key;                     ///< of the random stream: one for each run, step and layer
};

/// What it needs to see.
enum class GrowNeeds : uint8_t {
  nothing,
  gradient,  ///< this step's
  average,   ///< their moving average, which is kept as "unmasked_gradient" while the stage trains
};

/// Which weights a step moves.
enum class Trains : uint8_t {
  active,    ///< those that the mask keeps; the others are 0, and grow from 0
  all,       ///< all, of which the network computes with the largest (straight_through.h)
  explored,  ///< those that it computes with, and the next largest
};

/// What a name of a method stands for.
struct RegrowthInfo {
  std::string name, help;
  std::string paper = {};  ///< authors: title, venue
  /// Which of share, min_share, anneal and momentum concern it; in, begin, end and every do in any case.
  std::vector<std::string> options = {};
  std::vector<ExtraOption> extra = {};

  // Of one that drops and grows:
  /// Writes a score for each weight of a layer: of those that are masked the highest grow.
  void (*grow)(std::span<float> scores, const GrowInputs& inputs) = nullptr;
  GrowNeeds needs = GrowNeeds::nothing;
  bool replaces_update = false;  ///< where masks move, the step's update is left out
  bool rounds_up = false;        ///< how many drop is ceil(share active) and not floor; a layer keeps one
  /// How much grows in which layer: by its share of the means of |average| of active weights, and not as much
  /// as it has dropped.
  bool redistributes = false;

  Trains trains = Trains::active;

  // Where a config does not say it:
  double share = 0.3, min_share = 0.0;
  double end = 0.75;  ///< of the stage
  std::string in = "steps";
  int64_t every = 100;  ///< steps
};
Registry<RegrowthInfo>& regrowths();

/// When masks move, and how much of what is active drops then. Steps count from 0.
struct RegrowSchedule {
  int64_t begin = 0, end = 0;
  int64_t every = 100;
  double share = 0.3;             ///< of each layer's active weights, at `begin`,
  double min_share = 0.0;         ///< and at `end`
  std::string anneal = "cosine";  ///< one of anneal_names(): how it goes from the one to the other

  /// At begin, begin + every, begin + 2 every, ... up to `end`.
  bool acts_at(int64_t step) const { return step >= begin && step <= end && (step - begin) % every == 0; }
  /// a(t) = min_share + (share - min_share) left(1 - p), p = (t - begin) / (end - begin), with the `left` of
  /// prune_schedules(): by cosine, and min_share 0, share / 2 (1 + cos(pi p)). It counts from `begin`, not
  /// from step 0. Constant: share.
  double share_at(int64_t step) const;
};
/// "constant", and the schedules of sparsity that go little by little.
std::vector<std::string> anneal_names();
/// UsageError for a begin before step 0, an end before it, `every` under 1, shares outside 0..1 or of which
/// min_share is the larger, and no known anneal.
void check(const RegrowSchedule& schedule);

/// How many of a layer's `active` weights drop: floor(share active), or ceil, in which 0.29 of 100 is 29
/// whatever its last bit; by ceil all but one at most.
int64_t drop_count(double share, int64_t active, bool rounds_up);

/// `total` in parts for layers, by `shares`, which need not add up to 1, and in all exactly `total`. A layer
/// takes 0.99 of its `room` at most, unless all do; what it would have had beyond that is spread evenly over
/// the others. What is over once all have whole numbers goes, one each, to those that lost the most by that,
/// of equals to the first. Where all shares are 0 `otherwise` says them. Error if there is not that much
/// room.
std::vector<int64_t> distribute(int64_t total, std::span<const double> shares,
                                std::span<const int64_t> otherwise, std::span<const int64_t> room);

/// The weights of convolutions and linear layers that learn.
std::vector<Parameter*> learning_weights(Module& model);

/// A layer whose mask is to move.
struct RegrowLayer {
  Parameter* weight;     ///< has a mask
  Tensor gradient = {};  ///< where the method needs it: that of the step, of masked weights, too
};

/// What a move did.
struct Regrown {
  struct Layer {
    std::string name;
    int64_t weights;         ///< of it,
    int64_t active;          ///< that the mask keeps, afterwards
    int64_t dropped, grown;  ///< a weight that was dropped and grew again counts as both
  };
  std::vector<Layer> layers = {};
  Layer total() const;  ///< named "total"
};

/// Moves the masks of `layers` by a method that drops and grows: of each drops drop_count(share, ...) of the
/// active weights, those with the smallest |w|, of equals the first; then, of those that are masked by now,
/// what has just been dropped among them, as many grow as distribute() or its own drop says, those with the
/// highest score, of equals the first. What grows begins at 0, its optimizer state and moving average, too.
/// So kept and grown have no weight in common, and all masks together keep as many as before, with a method
/// that does not redistribute each of them.
///
/// One that redistributes drops no more of a layer than its sparsity, where that is under 0.2 and its share
/// of what grows is over the mean: it is about to be full (Dettmers, Zettlemoyer 2019).
///
/// All is read and chosen on the host before anything changes. Error for a weight or a score that is not
/// finite.
Regrown regrow(const std::vector<RegrowLayer>& layers, const RegrowthInfo& method, double share,
               uint64_t key);

/// The moving average that growth may need, "unmasked_gradient" = momentum average + (1 - momentum) gradient:
/// where there is none it begins at 0; it moves after each backward pass, where the weights are; and goes, as
/// all state that no mask holds, at the end of the stage.
void start_gradient_average(const std::vector<Parameter*>& weights);
/// Error unless all of them have it.
void check_gradient_average(const std::vector<Parameter*>& weights);
void update_gradient_average(const std::vector<Parameter*>& weights, double momentum);
void drop_unmasked(const std::vector<Parameter*>& weights);

}  // namespace espalier

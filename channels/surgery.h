// Pruning as a book, step 7, surgery: the other way to apply a selection, cut. What is cut is gone: shapes
// change, the network stays dense and runs as fast as it looks. Nothing else in Espalier resizes a parameter.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "espalier/channels/graph.h"
#include "espalier/nn/module.h"

namespace espalier {

/// What a selection cuts: `kept` has, for each of `groups`, a verdict for each channel, 1 if it stays. Axes
/// that lose nothing are left out. Error for a group that would lose a channel it may not, or all.
std::vector<AxisCut> cuts_of(const std::vector<ChannelGroup>& groups,
                             const std::vector<std::vector<uint8_t>>& kept);

/// The network that a cut is to be equal to, after its constants were folded (fold.h). The weights and scales
/// that make the channels that go are zeroed, so that they say the same to every image. Of groups that fold
/// (`folds`; empty: none does) that is all: what a channel says then, f(shift), is what folding moves. Of the
/// others it counts as 0, whatever f(0) is: their shifts are zeroed, and the weights that read them.
void zero_channels(const std::vector<ChannelGroup>& groups, const std::vector<std::vector<uint8_t>>& kept,
                   const std::vector<char>& folds = {});

/// While it lives, a change of a model can be taken back: unless it was committed, its end gives back all
/// numbers, shapes and the history that the model had. A model that is kept is cut only within one, so that
/// nothing is ever left half cut.
class Transaction {
 public:
  explicit Transaction(Module& model);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit() { before_.clear(); }

 private:
  struct Before {
    Parameter* parameter;
    NamedState tensors;
  };
  Module& model_;
  std::vector<Before> before_;  // empty once committed
  std::vector<AxisCut> history_;
};

/// Cuts running statistics and parameters with all that belongs to them (Parameter::for_tensors), all or
/// nothing: checks first that every cut fits, with one line that names the first parameter that does not.
/// Adds the cuts to the model's history, which, cut from a fresh model of its architecture, makes its shapes.
void cut(Module& model, const std::vector<AxisCut>& cuts);
/// The cuts that are left to make of a model with the history `made` one with the history `wanted`. Error
/// where it has lost what that one keeps.
std::vector<AxisCut> cuts_between(const std::vector<AxisCut>& made, const std::vector<AxisCut>& wanted);

}  // namespace espalier

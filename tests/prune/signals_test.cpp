#include "espalier/prune/signals.h"

#include <gtest/gtest.h>

#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

/// Losses that are the sum of y = w x: their gradients can be written down.
struct Line {
  SmallNet net;
  Linear& fc = net.linear("fc", 2, 1);
  Line() {
    net.pass = [this](const Variable& x) {
      EXPECT_FALSE(net.training());
      return fc.forward(x);
    };
  }
  Signals gather(const std::string& criterion, const std::vector<Floats>& batches) {
    return gather_signals(
        net, {1, 1, 2}, criteria().named(criterion),
        {.batches = static_cast<int64_t>(batches.size()),
         .batch =
             [&](int64_t i) {
               return SignalBatch{Tensor::from({1, 2}, batches[static_cast<size_t>(i)]), {}};
             },
         .loss = [](const Variable& y, const SignalBatch&) { return ops::sum(y); }});
  }
};

TEST(Signals, AreMeansOverBatchesOfSquaresOrOfGradients) {
  Line line;
  const std::vector<Floats> batches = {{1, 2}, {3, -4}};  // whose mean, 2 and -1, says little of the second
  const Parameter* w = line.net.find("fc.weight");
  line.net.set_training(true);
  for (const char* criterion : {"taylor", "obd"})
    EXPECT_EQ(numbers(line.gather(criterion, batches).of_parameters.at(w)), (Floats{5, 10}))
        << criterion << ": each counts, not only the last";
  EXPECT_EQ(numbers(line.gather("snip", batches).of_parameters.at(w)), (Floats{2, -1}));
  EXPECT_TRUE(line.net.training());
  EXPECT_FALSE(w->gradient().defined());
  EXPECT_TRUE(line.gather("l1", batches).of_parameters.empty());
}

TEST(Signals, AreOfFrozenLayersToo) {
  Line line;
  const Frozen frozen(line.net, {&line.fc});
  const Parameter* w = line.net.find("fc.weight");
  EXPECT_EQ(numbers(line.gather("taylor", {{1, 2}}).of_parameters.at(w)), (Floats{1, 4}));
  EXPECT_TRUE(w->frozen() && !w->gradient().defined());
}

TEST(Signals, OfMovementAreWhatAStageHasAddedUp) {
  Line line;
  Parameter* w = line.net.find("fc.weight");
  EXPECT_TRUE(line.gather("movement", {}).of_parameters.empty());
  start_movement({w});
  w->value() = Tensor::from({1, 2}, Floats{3, -7});
  w->gradient() = Tensor::from({1, 2}, Floats{2, 1});
  add_movement({w});
  w->gradient() = Tensor::from({1, 2}, Floats{-1, 0.5f});
  add_movement({w});
  EXPECT_EQ(numbers(line.gather("movement", {}).of_parameters.at(w)), (Floats{3, -10.5f}));
  end_movement({w});
  EXPECT_TRUE(line.gather("movement", {}).of_parameters.empty());
}

/// What gathers from data asks for some of it, and says of what: the help of every criterion depends on it.
TEST(Signals, EveryKindSaysWhatItLooksAt) {
  for (const Criterion& criterion : criteria()) {
    const SignalKind& kind = kind_of(criterion.needs);
    EXPECT_EQ(kind.looks_at.empty(), criterion.needs == Needs::weights) << criterion.name;
    EXPECT_EQ(kind.gather != nullptr, criterion.needs != Needs::weights) << criterion.name;
    EXPECT_EQ(kind.data, criterion.batches > 0) << criterion.name;
  }
}

}  // namespace
}  // namespace espalier

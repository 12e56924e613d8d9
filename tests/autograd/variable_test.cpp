#include "espalier/autograd/variable.h"

#include <gtest/gtest.h>

#include "espalier/core/allocator.h"
#include "espalier/core/out_of_memory.h"
#include "espalier/graph/ops.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

Variable leaf(const Floats& values) {
  return Variable(Tensor::from({static_cast<int64_t>(values.size())}, values), true);
}
Floats gradient_of(const Variable& x) {
  const auto span = x.gradient().span<float>();
  return Floats(span.begin(), span.end());
}

// --- gradients

TEST(Variable, OutOfMemoryInABackwardPassNamesTheOp) {
  const Variable w(Tensor::full({2}, 1.0f), true, "conv1.weight");
  const auto full = [](const Tensor&, const Gradients&) {
    throw OutOfMemory("9 MiB asked for", "none is free");
  };
  const Variable named = record({.op = "conv2d",
                                 .attributes = {},
                                 .inputs = {w},
                                 .output = w.value(),
                                 .channels = {},
                                 .backward = full});
  EXPECT_EQ(message_of([&] { ops::sum(named).backward(); }),
            "9 MiB asked for by the gradients of conv1 (conv2d); none is free");
  const Variable x = leaf({1, 2});
  const Variable plain = record(
      {.op = "relu", .attributes = {}, .inputs = {x}, .output = x.value(), .channels = {}, .backward = full});
  EXPECT_EQ(message_of([&] { ops::sum(plain).backward(); }),
            "9 MiB asked for by the gradients of relu; none is free");
}

TEST(Variable, OpsAreCountedAsTheyAreRecorded) {
  const uint64_t before = ops_recorded();
  const Variable x = leaf({1, 2});
  ops::sum(ops::add(x, x));
  EXPECT_EQ(ops_recorded(), before + 2);
}

TEST(Variable, TheSameInputTwice) {
  const Variable x = leaf({1, 2, 3});
  ops::sum(ops::add(x, x)).backward();
  EXPECT_EQ(gradient_of(x), (Floats{2, 2, 2}));
  const Variable y = leaf({1, 2, 3});
  ops::sum(ops::mul(y, y)).backward();
  EXPECT_EQ(gradient_of(y), (Floats{2, 4, 6}));
}

TEST(Variable, GradientsOfSeveralPassesAddUp) {
  const Variable x = leaf({1, 2});
  for (int pass = 1; pass <= 3; ++pass) {
    ops::sum(ops::scale(x, 2.0f)).backward();
    EXPECT_EQ(gradient_of(x), Floats(2, 2.0f * static_cast<float>(pass)));
  }
  Variable(x).clear_gradient();
  EXPECT_FALSE(x.gradient().defined());
}

TEST(Variable, Diamond) {
  // y = a^2 + 3a with a = 2x: dy/dx = 2 (2a + 3)
  const Variable x = leaf({1, -2});
  const Variable a = ops::scale(x, 2.0f);
  ops::sum(ops::add(ops::mul(a, a), ops::scale(a, 3.0f))).backward();
  EXPECT_EQ(gradient_of(x), (Floats{14, -10}));
}

TEST(Variable, ResidualsShareAGradientAndDoNotSpoilIt) {
  // add() gives both inputs the one tensor; what is added to the one must not show in the other.
  const Variable x = leaf({1, 2}), z = leaf({5, 6});
  const Variable sum = ops::add(x, z);                       // dz = dx = 1
  ops::sum(ops::add(sum, ops::scale(x, 10.0f))).backward();  // dx += 10
  EXPECT_EQ(gradient_of(x), (Floats{11, 11}));
  EXPECT_EQ(gradient_of(z), (Floats{1, 1}));
  ops::sum(ops::scale(z, 100.0f)).backward();
  EXPECT_EQ(gradient_of(x), (Floats{11, 11}));
  EXPECT_EQ(gradient_of(z), (Floats{101, 101}));
}

TEST(Variable, AKernelDoesNotAddIntoASharedGradient) {
  // As above, with the tensor shared first and a kernel that adds into x's second.
  const Variable x = leaf({1, 2}), z = leaf({5, 6});
  const Variable scaled = ops::scale(x, 10.0f);
  ops::sum(ops::add(ops::add(x, z), scaled)).backward();
  EXPECT_EQ(gradient_of(x), (Floats{11, 11}));
  EXPECT_EQ(gradient_of(z), (Floats{1, 1}));
}

TEST(Variable, AChainOfResidualBlocks) {
  // h <- h + s h, ten times: dh/dx = (1 + s)^10
  const Variable x = leaf({1, -1, 2});
  Variable h = x;
  for (int block = 0; block < 10; ++block) h = ops::add(h, ops::scale(h, 0.5f));
  ops::sum(h).backward();
  for (const float g : gradient_of(x)) EXPECT_FLOAT_EQ(g, static_cast<float>(std::pow(1.5, 10)));
}

TEST(Variable, TheSeedStaysTheCallers) {
  const Variable x = leaf({1, 2});
  const Tensor seed = Tensor::from({2}, Floats{3, 4});
  ops::add(x, x).backward(seed);
  ops::add(x, ops::scale(x, 1.0f)).backward(seed);
  EXPECT_EQ(gradient_of(x), (Floats{12, 16}));
  EXPECT_TRUE(std::ranges::equal(seed.span<float>(), Floats{3, 4}));
}

TEST(Variable, AnOpTakesTheMemoryOfAGradientThatNobodyElseLooksAt) {
  const auto norm_of = [](const Variable& x) {
    const Variable one(Tensor::full({2}, 1.0f)), two(Tensor::full({2}, 2.0f)), zero(Tensor::zeros({2}));
    return ops::batch_norm(x, {.gamma = two,
                               .beta = zero,
                               .running_mean = zero,
                               .running_variance = one,
                               .eps = 0,
                               .training = false});
  };
  const Variable x(Tensor::from({2, 2}, Floats{1, 2, 3, 4}), true);
  const Tensor seed = Tensor::from({2, 2}, Floats{5, 6, 7, 8});
  norm_of(ops::scale(x, 2.0f)).backward(seed);  // the caller looks at it
  EXPECT_EQ(gradient_of(x), (Floats{20, 24, 28, 32}));
  EXPECT_TRUE(std::ranges::equal(seed.span<float>(), Floats{5, 6, 7, 8}));

  const Variable z(Tensor::from({2, 2}, Floats{1, 2, 3, 4}), true);
  ops::add(norm_of(ops::scale(z, 2.0f)), z).backward(seed.clone());  // z does, and is added to later
  EXPECT_EQ(gradient_of(z), (Floats{25, 30, 35, 40}));

  const Variable leaf_of_a_norm(Tensor::from({2, 2}, Floats{1, 2, 3, 4}), true);
  Tensor mine = seed.clone();
  const void* const memory = mine.raw();
  norm_of(leaf_of_a_norm).backward(std::move(mine));
  EXPECT_EQ(leaf_of_a_norm.gradient().raw(), memory);
  EXPECT_EQ(gradient_of(leaf_of_a_norm), (Floats{10, 12, 14, 16}));
}

TEST(Variable, FlattenedGradientsFitTheImage) {
  const Variable x(random_tensor({2, 3, 4, 5}, 1), true);
  const Variable flat = ops::flatten(x);
  ops::sum(ops::mul(flat, flat)).backward();
  EXPECT_EQ(x.gradient().shape(), x.shape());
  EXPECT_FLOAT_EQ(x.gradient().f32()[7], 2 * x.value().f32()[7]);
}

TEST(Variable, OnlyWhatRequiresAGradientGetsOne) {
  const Variable x = leaf({1, 2}), data(Tensor::from({2}, Floats{3, 4}));
  const Variable y = ops::mul(x, data);
  ops::sum(y).backward();
  EXPECT_EQ(gradient_of(x), (Floats{3, 4}));
  EXPECT_FALSE(data.gradient().defined());
  EXPECT_FALSE(y.gradient().defined()) << "an op's output does not keep its gradient";
  EXPECT_FALSE(ops::mul(data, data).requires_gradient());
}

TEST(Variable, ABranchThatDoesNotReachTheLossIsSkipped) {
  const Variable x = leaf({1, 2});
  const Variable unused = ops::scale(x, 100.0f);
  ops::sum(ops::scale(x, 3.0f)).backward();
  EXPECT_EQ(gradient_of(x), (Floats{3, 3}));
}

// --- history

TEST(Variable, HistoryIsFreedAsItIsWalked) {
  const Variable x(Tensor::full({1 << 20}, 1.0f), true);
  allocator::stats();
  Variable h = x;
  for (int i = 0; i < 8; ++i) h = ops::activation(h, Activation::tanh);
  const Variable loss = ops::sum(h);
  h = Variable();
  const size_t before = allocator::stats().used_bytes;
  loss.backward();
  EXPECT_EQ(allocator::stats().used_bytes, before - 7 * (size_t{4} << 20))
      << "8 activations gone, 1 gradient come";
}

TEST(Variable, AWalkedHistoryIsAnError) {
  const Variable x = leaf({1, 2});
  const Variable loss = ops::sum(x);
  loss.backward();
  EXPECT_EQ(message_of([&] { loss.backward(); }), "backward: this history has been walked and freed already");

  const Variable shared = ops::scale(x, 2.0f);
  const Variable first = ops::sum(shared), second = ops::mean(shared);
  first.backward();
  EXPECT_EQ(message_of([&] { second.backward(); }),
            "backward: part of this history has been walked and freed already");
}

TEST(Variable, BackwardStartsFromOneNumber) {
  const Variable x = leaf({1, 2});
  EXPECT_EQ(message_of([&] { ops::scale(x, 1.0f).backward(); }),
            "backward: start from one number, this variable has shape [2]");
  EXPECT_TRUE(contains(message_of([] { Variable().backward(); }), "backward: start from one number"));
  EXPECT_EQ(message_of([&] { ops::scale(x, 1.0f).backward(Tensor::zeros({3})); }),
            "backward: gradient has shape [3], the variable [2]");
  EXPECT_EQ(message_of([] { ops::sum(Variable(Tensor::zeros({2}))).backward(); }),
            "backward: nothing this variable came from requires a gradient");
}

TEST(Variable, ALongHistoryNeedsNoDeepStack) {
  const int length = 200000;
  const Variable x = leaf({1});
  Variable h = x;
  for (int i = 0; i < length; ++i) h = ops::scale(h, 1.0f);
  ops::sum(h).backward();
  EXPECT_EQ(gradient_of(x), Floats{1});
  h = x;
  for (int i = 0; i < length; ++i) h = ops::scale(h, 1.0f);
  h = Variable();  // dropped without a walk
}

TEST(Variable, TheSecondStepAllocatesNothingFromTheSystem) {
  const Variable w(random_tensor({50, 400}, 1), true), b(random_tensor({50}, 2), true);
  const Tensor labels = Tensor::zeros({64}, DType::i32);
  const auto step = [&] {
    const Variable x(random_tensor({64, 400}, 3));
    ops::softmax_cross_entropy(ops::linear(x, w, b, Activation::gelu), labels).loss.backward();
    Variable(w).clear_gradient();
    Variable(b).clear_gradient();
  };
  step();
  const AllocatorStats before = allocator::stats();
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(allocator::stats().system_calls, before.system_calls);
  EXPECT_EQ(allocator::stats().used_bytes, before.used_bytes);
}

// --- inference

TEST(NoGradient, RecordsNoHistoryWhileItLives) {
  const Variable x = leaf({1, 2});
  EXPECT_TRUE(gradients_enabled());
  EXPECT_TRUE(needs_history({&x}));
  {
    const NoGradient off;
    { const NoGradient nested; }
    EXPECT_FALSE(gradients_enabled()) << "the inner one does not switch them on";
    EXPECT_FALSE(needs_history({&x}));
    EXPECT_FALSE(ops::scale(x, 2.0f).requires_gradient());
  }
  EXPECT_TRUE(gradients_enabled());
  EXPECT_TRUE(ops::scale(x, 2.0f).requires_gradient());
}

TEST(NoGradient, KeepsNoMemory) {
  const Variable x(Tensor::full({1 << 20}, 1.0f), true);
  const size_t before = allocator::stats().used_bytes;
  const NoGradient off;
  Variable h = x;
  for (int i = 0; i < 8; ++i) h = ops::activation(h, Activation::tanh);
  EXPECT_EQ(allocator::stats().used_bytes, before + (size_t{4} << 20));
}

TEST(Channels, EveryRuleHasAName) {
  EXPECT_STREQ(channels_rule_name(Channels::unknown), "unknown");
  EXPECT_STREQ(channels_rule_name(Channels::joined), "joined");
  EXPECT_STREQ(channels_rule_name(Channels::reduced), "reduced");
}

}  // namespace
}  // namespace espalier

// Every op of the catalogue with its gradients on the GPU against the CPU, on the same numbers.
#include "espalier/graph/ops.h"

#include <cmath>
#include <limits>

#include "cuda/on_cuda.h"
#include "espalier/autograd/fixed_weights.h"
#include "support/bad_input.h"
#include "support/formulas.h"
#include "support/op_case.h"

namespace espalier::ops_test {
namespace {

/// What is on the GPU, for the host, as f32.
Tensor on_host(const Tensor& tensor) { return tensor.to(Device::cpu).to(DType::f32); }
Doubles host(const Tensor& tensor) { return doubles(on_host(tensor).span<float>()); }

Tensor rounded(const Tensor& tensor) { return tensor.to(DType::bf16).to(DType::f32); }

/// What of a case is f32 while the rest is bf16, and how near it comes to the CPU's.
struct InBf16 {
  std::vector<size_t> parameters = {};  ///< inputs by number
  DType result = DType::bf16;
  double tolerance = 1e-2;
  bool gradients = true;  ///< compared, too
};

/// Activations and their gradients bf16, parameters and theirs f32: the CPU's numbers in f32 from the same
/// rounded inputs.
void check_in_bf16(const OpCase& c, const InBf16& how) {
  const auto variables = [&](Device device) {
    std::vector<Variable> made;
    for (size_t i = 0; i < c.inputs.size(); ++i) {
      const Tensor value = rounded(random_tensor(c.inputs[i], 10 + i, c.low, c.high)).to(device);
      const bool is_f32 = device == Device::cpu || std::ranges::count(how.parameters, i) > 0;
      made.emplace_back(is_f32 ? value : value.to(DType::bf16), true);
    }
    return made;
  };
  const auto here = variables(Device::cpu), there = variables(Device::cuda);
  const Variable expected = c.op(here), y = c.op(there);
  ASSERT_EQ(y.value().dtype(), how.result);
  EXPECT_TRUE(near(on_host(y.value()), host(expected.value()), how.tolerance)) << "value";
  const Tensor seed = rounded(random_tensor(y.shape(), 9));
  expected.backward(seed);
  y.backward(seed.to(Device::cuda).to(y.value().dtype()));
  c.op(there).backward(seed.to(Device::cuda).to(y.value().dtype()));
  for (size_t i = 0; i < there.size(); ++i) {
    ASSERT_TRUE(there[i].gradient().defined());
    ASSERT_EQ(there[i].gradient().dtype(), there[i].value().dtype());
    if (!how.gradients) continue;
    Doubles twice = host(here[i].gradient());
    for (double& g : twice) g *= 2;
    EXPECT_TRUE(near(on_host(there[i].gradient()), twice, how.tolerance)) << "gradient of input " << i;
  }
  const NoGradient off;
  for (int time = 0; time < 2; ++time) {
    const FixedWeights fixed;
    EXPECT_TRUE(near(on_host(c.op(there).value()), host(expected.value()), how.tolerance))
        << "without gradients";
  }
}

/// The op's value and gradients on the GPU are the CPU's; so are they when they are added to others, and when
/// only one input wants one.
void check_on_cuda(const OpCase& c, const InBf16& how = {}) {
  const auto variables = [&](Device device, auto wanted) {
    std::vector<Variable> made;
    for (size_t i = 0; i < c.inputs.size(); ++i)
      made.emplace_back(random_tensor(c.inputs[i], 10 + i, c.low, c.high).to(device), wanted(i));
    return made;
  };
  const auto every = [](size_t) { return true; };
  const auto here = variables(Device::cpu, every), there = variables(Device::cuda, every);
  const Variable expected = c.op(here), y = c.op(there);
  ASSERT_EQ(y.value().device(), Device::cuda);
  EXPECT_TRUE(near(y.value().to(Device::cpu), host(expected.value()), c.tolerance)) << "value";
  const Tensor seed = random_tensor(y.shape(), 9);
  expected.backward(seed);
  y.backward(seed.to(Device::cuda));
  c.op(here).backward(seed);
  std::vector<Doubles> twice;
  for (const Variable& input : here) twice.push_back(host(input.gradient()));
  const auto once = [&](size_t i) {
    Doubles half = twice[i];
    for (double& g : half) g /= 2;
    return half;
  };
  for (size_t i = 0; i < there.size(); ++i) {
    ASSERT_TRUE(there[i].gradient().defined());
    ASSERT_EQ(there[i].gradient().device(), Device::cuda);
    EXPECT_TRUE(near(there[i].gradient().to(Device::cpu), once(i), c.tolerance)) << "gradient of input " << i;
  }
  c.op(there).backward(seed.to(Device::cuda));
  for (size_t i = 0; i < there.size(); ++i)
    EXPECT_TRUE(near(there[i].gradient().to(Device::cpu), twice[i], c.tolerance))
        << "gradient of input " << i << ", added";
  for (size_t only = 0; only < there.size(); ++only) {
    const auto some = variables(Device::cuda, [=](size_t i) { return i == only; });
    c.op(some).backward(seed.to(Device::cuda));
    for (size_t i = 0; i < some.size(); ++i) EXPECT_EQ(some[i].gradient().defined(), i == only);
    EXPECT_TRUE(near(some[only].gradient().to(Device::cpu), once(only), c.tolerance))
        << "only input " << only;
  }
  {
    const NoGradient off;
    EXPECT_TRUE(near(c.op(there).value().to(Device::cpu), host(expected.value()), c.tolerance))
        << "without gradients";
  }
  SCOPED_TRACE("in bf16");
  check_in_bf16(c, how);
}

/// Whether f' jumps somewhere: rounding what is there takes some numbers to the other side, where their
/// gradients are others.
bool jumps(Activation f) {
  return f == Activation::relu || f == Activation::relu6 || f == Activation::hard_swish ||
         f == Activation::hard_sigmoid || f == Activation::leaky_relu;
}
/// The same after a product: relu is fused into that, and nothing is rounded between.
bool jumps_behind_product(Activation f) { return f != Activation::relu && jumps(f); }

using OpsOnCuda = OnCuda;
using Inputs = std::vector<Variable>;

TEST_F(OpsOnCuda, Linear) {
  for (const auto& [n, in, out] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                                   {3, 5, 7},
                                   {33, 101, 37},
                                   {64, 784, 256},
                                   {65, 128, 10}})
    for (const Activation f : activations)
      for (const bool bias : {true, false}) {
        SCOPED_TRACE(testing::Message() << n << " " << in << " -> " << out << ", activation "
                                        << static_cast<int>(f) << ", bias " << bias);
        std::vector<Shape> inputs{{n, in}, {out, in}};
        if (bias) inputs.push_back({out});
        check_on_cuda(
            {.inputs = inputs,
             .op = [=](const Inputs& v) { return ops::linear(v[0], v[1], bias ? v[2] : Variable(), f); },
             .reference = {}},
            {.parameters = {1, 2}, .gradients = !jumps_behind_product(f)});
      }
}

TEST_F(OpsOnCuda, Convolution) {
  struct Row {
    int64_t n, h, w, c, o, k, stride, pad, groups;
  };
  for (const Row& r : {Row{2, 8, 8, 3, 16, 3, 1, 1, 1},
                       {1, 9, 7, 37, 101, 3, 1, 1, 1},
                       {1, 12, 12, 16, 32, 3, 2, 1, 1},
                       {2, 6, 6, 32, 64, 1, 1, 0, 1},
                       {2, 8, 8, 32, 64, 1, 2, 0, 1},
                       {2, 14, 14, 1, 20, 5, 1, 0, 1},
                       {1, 24, 24, 3, 16, 7, 2, 3, 1},
                       {2, 8, 8, 32, 32, 3, 1, 1, 32},
                       {2, 7, 7, 16, 32, 3, 1, 1, 4},
                       {1, 1, 1, 1, 1, 1, 1, 0, 1}})
    for (const Activation f : activations)
      for (const bool bias : {true, false}) {
        SCOPED_TRACE(testing::Message()
                     << r.n << "x" << r.h << "x" << r.w << " " << r.c << " -> " << r.o << ", kernel " << r.k
                     << ", stride " << r.stride << ", pad " << r.pad << ", groups " << r.groups
                     << ", activation " << static_cast<int>(f) << ", bias " << bias);
        std::vector<Shape> inputs{{r.n, r.h, r.w, r.c}, {r.o, r.k, r.k, r.c / r.groups}};
        if (bias) inputs.push_back({r.o});
        check_on_cuda({.inputs = inputs,
                       .op =
                           [=](const Inputs& v) {
                             return ops::conv2d(v[0], v[1], bias ? v[2] : Variable(),
                                                {.stride = r.stride, .pad = r.pad, .groups = r.groups}, f);
                           },
                       .reference = {},
                       .tolerance = 2e-5},
                      {.parameters = {1, 2}, .gradients = !jumps_behind_product(f)});
      }
}

/// v: x, gamma, beta and, after them, perhaps a residual. Running statistics are made where x is.
ops::BatchNorm norm_of(const Inputs& v, bool training) {
  const Device device = v[0].value().device();
  const int64_t c = v[0].shape()[-1];
  return {.gamma = v[1],
          .beta = v[2],
          .running_mean = Variable(random_tensor({c}, 70).to(device)),
          .running_variance = Variable(random_tensor({c}, 71, 0.5, 2.0).to(device)),
          .training = training};
}

TEST_F(OpsOnCuda, BatchNorm) {
  for (const Shape& x : {Shape{4, 5, 3, 1}, Shape{2, 8, 8, 3}, Shape{2, 7, 5, 37}, Shape{4, 4, 4, 64},
                         Shape{33, 101}, Shape{65, 512}})
    for (const bool training : {true, false})
      for (const bool residual : {true, false})
        for (const Activation f : norm_activations) {
          SCOPED_TRACE(testing::Message() << x << ", training " << training << ", residual " << residual
                                          << ", activation " << static_cast<int>(f));
          std::vector<Shape> inputs{x, {x[-1]}, {x[-1]}};
          if (residual) inputs.push_back(x);
          check_on_cuda({.inputs = inputs,
                         .op =
                             [=](const Inputs& v) {
                               return ops::batch_norm(v[0], norm_of(v, training), f,
                                                      residual ? v[3] : Variable());
                             },
                         .reference = {},
                         .tolerance = 2e-5},
                        {.parameters = {1, 2}});
        }
}

TEST_F(OpsOnCuda, BatchNormMovesItsRunningStatistics) {
  const auto moved = [](Device device) {
    const Inputs v{Variable(random_tensor({4, 5, 6, 37}, 1, 0.0, 3.0).to(device)),
                   Variable(random_tensor({37}, 2).to(device)), Variable(random_tensor({37}, 3).to(device))};
    const ops::BatchNorm norm = norm_of(v, true);
    ops::batch_norm(v[0], norm);
    return std::pair{host(norm.running_mean.value()), host(norm.running_variance.value())};
  };
  const auto expected = moved(Device::cpu), actual = moved(Device::cuda);
  for (size_t i = 0; i < expected.first.size(); ++i) {
    EXPECT_NEAR(actual.first[i], expected.first[i], 1e-5);
    EXPECT_NEAR(actual.second[i], expected.second[i], 1e-5);
  }
}

TEST_F(OpsOnCuda, ConvolutionAndBatchNorm) {
  for (const bool training : {true, false})
    for (const bool residual : {true, false})
      for (const Activation f : norm_activations) {
        SCOPED_TRACE(testing::Message() << "training " << training << ", residual " << residual
                                        << ", activation " << static_cast<int>(f));
        std::vector<Shape> inputs{{2, 8, 8, 16}, {37}, {37}, {37, 3, 3, 16}, {37}};
        if (residual) inputs.push_back({2, 8, 8, 37});
        check_on_cuda(
            {.inputs = inputs,
             .op =
                 [=](const Inputs& v) {
                   Inputs of_norm{Variable(random_tensor({1, 37}, 5).to(v[0].value().device())), v[1], v[2]};
                   return ops::conv2d_batch_norm(v[0], v[3], v[4], {.pad = 1}, norm_of(of_norm, training), f,
                                                 residual ? v[5] : Variable());
                 },
             .reference = {},
             .tolerance = 5e-5},
            // What lies between the two is rounded. That takes some numbers to relu's other side, where their
            // gradients are others; and of the bias' gradient, which a norm cancels, rounding is what is
            // left.
            {.parameters = {1, 2, 3, 4}, .tolerance = 2e-2, .gradients = !jumps(f)});
      }
}

TEST_F(OpsOnCuda, Activations) {
  for (const Activation f : activations)
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{3, 5, 7, 11}, Shape{33, 1001}}) {
      SCOPED_TRACE(testing::Message() << shape << ", activation " << static_cast<int>(f));
      check_on_cuda({.inputs = {shape},
                     .op = [=](const Inputs& v) { return ops::activation(v[0], f); },
                     .reference = {},
                     .low = -4,
                     .high = 4});
    }
}

TEST_F(OpsOnCuda, Clip) {
  const float none = std::numeric_limits<float>::infinity();
  for (const Shape& shape : {Shape{}, Shape{31}, Shape{3, 5, 7, 11}, Shape{257, 1001}})
    for (const auto& [low, high] : {std::pair{-0.5f, 0.25f}, {-none, 0.5f}, {0.0f, none}}) {
      SCOPED_TRACE(testing::Message() << shape << ", " << low << " to " << high);
      check_on_cuda({.inputs = {shape},
                     .op = [low = low, high = high](const Inputs& v) { return ops::clip(v[0], low, high); },
                     .reference = {}});
    }
}

TEST_F(OpsOnCuda, ClipAtItsBoundsAndOfNaN) {
  const Variable x(Tensor::from({6}, Floats{-2, -1, 0, 1, 2, std::nanf("")}).to(Device::cuda), true);
  const Variable y = ops::clip(x, -1, 1);
  y.backward(Tensor::full({6}, 1.0f, Device::cuda));
  const Doubles values = host(y.value()), gradients = host(x.gradient());
  EXPECT_EQ(Doubles(values.begin(), values.begin() + 5), (Doubles{-1, -1, 0, 1, 1}));
  EXPECT_TRUE(std::isnan(values[5]));
  EXPECT_EQ(gradients, (Doubles{0, 1, 1, 1, 0, 0}));
}

TEST_F(OpsOnCuda, Pools) {
  for (const Shape& x : {Shape{1, 4, 4, 1}, Shape{2, 8, 8, 3}, Shape{2, 9, 7, 37}, Shape{2, 8, 8, 64}}) {
    for (const auto& [k, stride, pad] :
         {std::tuple<int64_t, int64_t, int64_t>{2, 2, 0}, {3, 2, 1}, {3, 1, 1}, {2, 3, 0}}) {
      SCOPED_TRACE(testing::Message() << x << ", window " << k << ", stride " << stride << ", pad " << pad);
      check_on_cuda({.inputs = {x},
                     .op = [=](const Inputs& v) { return ops::max_pool2d(v[0], k, stride, pad); },
                     .reference = {}});
      check_on_cuda({.inputs = {x},
                     .op = [=](const Inputs& v) { return ops::average_pool2d(v[0], k, stride, pad); },
                     .reference = {}});
    }
    check_on_cuda({.inputs = {x},
                   .op =
                       [](const Inputs& v) {
                         return ops::max_pool2d(v[0], {3, 2}, 2, {0, 0, 1, 1}, true);
                       },
                   .reference = {}});
    check_on_cuda({.inputs = {x},
                   .op =
                       [](const Inputs& v) {
                         return ops::average_pool2d(v[0], 3, {2, 1}, {1, 0, 0, 1}, true, false);
                       },
                   .reference = {}});
    check_on_cuda({.inputs = {x},
                   .op = [](const Inputs& v) { return ops::global_average_pool(v[0]); },
                   .reference = {}});
    for (const int64_t side : {1, 2})
      if (x[1] % side == 0 && x[2] % side == 0)
        check_on_cuda({.inputs = {x},
                       .op = [=](const Inputs& v) { return ops::adaptive_average_pool2d(v[0], side, side); },
                       .reference = {}});
  }
}

TEST_F(OpsOnCuda, Shapes) {
  check_on_cuda(
      {.inputs = {{3, 4, 5, 7}}, .op = [](const Inputs& v) { return ops::flatten(v[0]); }, .reference = {}});
  check_on_cuda({.inputs = {{2, 3, 3, 5}, {2, 3, 3, 1}, {2, 3, 3, 32}},
                 .op = [](const Inputs& v) { return ops::concat(v); },
                 .reference = {}});
  for (const int64_t first : {0, 3})
    check_on_cuda({.inputs = {{2, 3, 3, 9}},
                   .op = [=](const Inputs& v) { return ops::slice(v[0], first, 5); },
                   .reference = {}});
}

TEST_F(OpsOnCuda, Attention) {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      SCOPED_TRACE(testing::Message() << ta << tb);
      const Shape a = ta ? Shape{2, 3, 16, 33} : Shape{2, 3, 33, 16},
                  b = tb ? Shape{2, 3, 65, 16} : Shape{2, 3, 16, 65};
      check_on_cuda({.inputs = {a, b},
                     .op = [=](const Inputs& v) { return ops::matmul(v[0], v[1], ta, tb); },
                     .reference = {}});
    }
  for (const Shape& x : {Shape{5, 7}, Shape{2, 3, 65, 65}, Shape{2, 1500}}) {
    SCOPED_TRACE(testing::Message() << x);
    check_on_cuda({.inputs = {x},
                   .op = [](const Inputs& v) { return ops::softmax(v[0]); },
                   .reference = {},
                   .low = -4,
                   .high = 4});
    check_on_cuda({.inputs = {x, {x[-1]}, {x[-1]}},
                   .op = [](const Inputs& v) { return ops::layer_norm(v[0], v[1], v[2]); },
                   .reference = {},
                   .tolerance = 5e-5},
                  {.parameters = {1, 2}});
  }
}

TEST_F(OpsOnCuda, Tokens) {
  check_on_cuda({.inputs = {{2, 9, 16}, {40, 16}, {40}},
                 .op = [](const Inputs& v) { return ops::linear(v[0], v[1], v[2], Activation::gelu); },
                 .reference = {}},
                {.parameters = {1, 2}});
  check_on_cuda({.inputs = {{2, 1, 16}, {2, 8, 16}},
                 .op = [](const Inputs& v) { return ops::concat(v, 1); },
                 .reference = {}});
  check_on_cuda({.inputs = {{3, 9, 16}},
                 .op = [](const Inputs& v) { return ops::select(v[0], 1, 8); },
                 .reference = {}});
  check_on_cuda({.inputs = {{3, 9, 3, 2, 8}},
                 .op =
                     [](const Inputs& v) {
                       return ops::reshape(ops::permute(v[0], {0, 2, 3, 1, 4}), {6, 72});
                     },
                 .reference = {}});
  check_on_cuda({.inputs = {{2, 5, 6, 3}},
                 .op =
                     [](const Inputs& v) {
                       return ops::pad(v[0], {0, 1, 2, 3}, 0.5f);
                     },
                 .reference = {}});
  for (const Shape& one : {Shape{1, 1, 16}, Shape{1, 9, 37}}) {
    const Tensor x = Tensor::zeros({3, 2});
    check_on_cuda(
        {.inputs = {one},
         .op = [=](const Inputs& v) { return ops::expand(Variable(x.to(v[0].value().device())), v[0]); },
         .reference = {}},
        {.parameters = {0}, .result = DType::f32});
  }
}

TEST_F(OpsOnCuda, AnEmbeddingIsRepeatedInTheTypeOfActivations) {
  const Variable x(Tensor::zeros({3, 2}).to(Device::cuda).to(DType::bf16)),
      one(rounded(random_tensor({1, 5, 8}, 1)).to(Device::cuda), true);
  const Variable y = ops::expand(x, one);
  ASSERT_EQ(y.value().dtype(), DType::bf16);
  y.backward(Tensor::full({3, 5, 8}, 1.0f, Device::cuda).to(DType::bf16));
  for (int image = 0; image < 3; ++image)
    for (int i = 0; i < 40; ++i) ASSERT_EQ(host(y.value())[image * 40 + i], host(one.value())[i]);
  EXPECT_EQ(host(one.gradient()), Doubles(40, 3.0));
}

TEST_F(OpsOnCuda, Arithmetic) {
  for (const Shape& shape : {Shape{}, Shape{31}, Shape{3, 5, 7, 11}, Shape{257, 1001}}) {
    SCOPED_TRACE(testing::Message() << shape);
    check_on_cuda({.inputs = {shape, shape},
                   .op = [](const Inputs& v) { return ops::add(v[0], v[1]); },
                   .reference = {}});
    check_on_cuda({.inputs = {shape, shape},
                   .op = [](const Inputs& v) { return ops::mul(v[0], v[1]); },
                   .reference = {}});
    check_on_cuda(
        {.inputs = {shape}, .op = [](const Inputs& v) { return ops::mul(v[0], v[0]); }, .reference = {}});
    check_on_cuda(
        {.inputs = {shape}, .op = [](const Inputs& v) { return ops::scale(v[0], -1.7f); }, .reference = {}});
    check_on_cuda({.inputs = {shape}, .op = [](const Inputs& v) { return ops::sum(v[0]); }, .reference = {}},
                  {.result = DType::f32});
    check_on_cuda({.inputs = {shape}, .op = [](const Inputs& v) { return ops::mean(v[0]); }, .reference = {}},
                  {.result = DType::f32});
  }
}

TEST_F(OpsOnCuda, ArithmeticBesidePixels) {
  for (const Shape& x : {Shape{2, 3, 5, 7}, Shape{3, 8, 8, 64}, Shape{1, 1, 1, 33}}) {
    SCOPED_TRACE(testing::Message() << x);
    for (const Shape& s : {Shape{x[0], x[3]}, Shape{x[0], 1, 1, x[3]}, Shape{x[3]}}) {
      if (s == x) continue;
      SCOPED_TRACE(testing::Message() << "beside it " << s);
      const auto parameters = s.axes() == 1 ? std::vector<size_t>{1} : std::vector<size_t>{};
      check_on_cuda(
          {.inputs = {x, s}, .op = [](const Inputs& v) { return ops::add(v[0], v[1]); }, .reference = {}},
          {.parameters = parameters});
      check_on_cuda(
          {.inputs = {x, s}, .op = [](const Inputs& v) { return ops::mul(v[0], v[1]); }, .reference = {}},
          {.parameters = parameters});
    }
  }
}

TEST_F(OpsOnCuda, DropoutDrawsTheSameNumbers) {
  for (const Shape& shape : {Shape{31}, Shape{33, 1001}}) {
    check_on_cuda({.inputs = {shape},
                   .op = [](const Inputs& v) { return ops::dropout(v[0], 0.3f, 77); },
                   .reference = {},
                   .tolerance = 0});
  }
}

TEST_F(OpsOnCuda, CrossEntropyAndRank) {
  for (const auto& [n, classes] :
       {std::pair<int64_t, int64_t>{1, 1}, {3, 10}, {128, 10}, {65, 100}, {33, 1001}})
    for (const float smoothing : {0.0f, 0.1f}) {
      SCOPED_TRACE(testing::Message() << n << " of " << classes << ", smoothing " << smoothing);
      std::vector<int32_t> labels;
      for (int64_t i = 0; i < n; ++i) labels.push_back(static_cast<int32_t>(i * 7 % classes));
      const auto loss = [&](const Inputs& v) {
        return ops::softmax_cross_entropy(v[0], Tensor::from({n}, labels, v[0].value().device()), smoothing);
      };
      check_on_cuda({.inputs = {{n, classes}},
                     .op = [&](const Inputs& v) { return loss(v).loss; },
                     .reference = {},
                     .low = -4,
                     .high = 4},
                    {.result = DType::f32});
      const Tensor logits = random_tensor({n, classes}, 3);
      const Tensor expected = loss({Variable(logits)}).rank,
                   actual = loss({Variable(logits.to(Device::cuda))}).rank.to(Device::cpu);
      EXPECT_TRUE(std::ranges::equal(actual.span<int32_t>(), expected.span<int32_t>()));
    }
}

TEST_F(OpsOnCuda, KlDivergenceFromATeacher) {
  for (const auto& [n, classes] :
       {std::pair<int64_t, int64_t>{1, 1}, {3, 10}, {128, 10}, {65, 100}, {33, 1001}})
    for (const float temperature : {1.0f, 4.0f}) {
      SCOPED_TRACE(testing::Message() << n << " of " << classes << ", T " << temperature);
      const Tensor teacher = rounded(random_tensor({n, classes}, 3, -4, 4));
      check_on_cuda({.inputs = {{n, classes}},
                     .op =
                         [&](const Inputs& v) {
                           const Tensor& z = v[0].value();
                           return ops::softmax_kl_divergence(v[0], teacher.to(z.device()).to(z.dtype()),
                                                             temperature);
                         },
                     .reference = {},
                     .low = -4,
                     .high = 4},
                    {.result = DType::f32});
    }
  const Variable logits(random_tensor({2, 3}, 1).to(Device::cuda));
  EXPECT_THROW(ops::softmax_kl_divergence(logits, Tensor::zeros({2, 3}), 1), Error);
}

TEST_F(OpsOnCuda, LabelsHaveToBeWhereTheLogitsAre) {
  const Variable logits(random_tensor({2, 3}, 1).to(Device::cuda));
  EXPECT_THROW(ops::softmax_cross_entropy(logits, Tensor::zeros({2}, DType::i32)), Error);
}

TEST_F(OpsOnCuda, TypesOfActivationsAreNotMixed) {
  const Variable exact(random_tensor({2, 3}, 1).to(Device::cuda)), rough(exact.value().to(DType::bf16), true);
  EXPECT_TRUE(contains(message_of([&] { ops::add(exact, rough); }), "add: types differ, f32 and bf16"));
  EXPECT_THROW(ops::mul(rough, exact), Error);
  EXPECT_THROW(ops::concat({rough, exact}), Error);
  EXPECT_THROW(ops::scale(rough, 2.0f).backward(exact.value()), Error);
}

TEST_F(OpsOnCuda, Bf16IsForTheGpuAlone) {
  const Variable here(random_tensor({2, 3}, 1).to(DType::bf16));
  EXPECT_EQ(message_of([&] { ops::scale(here, 2.0f); }), "bf16 is computed only on a GPU");
}

TEST_F(OpsOnCuda, AFoldedNormIsInBf16WhatItIsInF32) {
  const Variable w(random_tensor({37, 3, 3, 16}, 3).to(Device::cuda)), none;
  const auto run = [&](DType dtype, Activation f, bool residual) {
    const auto of = [&](const Shape& shape, uint64_t key) {
      return Variable(rounded(random_tensor(shape, key)).to(Device::cuda).to(dtype));
    };
    const Inputs channels{Variable(random_tensor({1, 37}, 5).to(Device::cuda)),
                          Variable(random_tensor({37}, 6).to(Device::cuda)),
                          Variable(random_tensor({37}, 7).to(Device::cuda))};
    const NoGradient off;
    const FixedWeights fixed;
    return ops::conv2d_batch_norm(of({2, 8, 8, 16}, 1), w, channels[1], {.pad = 1}, norm_of(channels, false),
                                  f, residual ? of({2, 8, 8, 37}, 2) : none)
        .value();
  };
  for (const Activation f : norm_activations)
    for (const bool residual : {true, false}) {
      const Tensor actual = run(DType::bf16, f, residual);
      ASSERT_EQ(actual.dtype(), DType::bf16);
      EXPECT_TRUE(near(on_host(actual), host(run(DType::f32, f, residual)), 1e-2));
    }
}

TEST_F(OpsOnCuda, TheHostReadsWhatIsOnTheGpuOnlyByCopies) {
  const Tensor there = Tensor::full({2, 3}, 1.5f, Device::cuda);
  EXPECT_THROW(there.span<float>(), Error);
  EXPECT_EQ(there.to(Device::cpu).span<float>()[5], 1.5f);
  EXPECT_EQ(Tensor::full({}, 2.5f, Device::cuda).item(), 2.5f);
  EXPECT_TRUE(there.to(Device::cuda).shares(there));
  Tensor changed = there.clone(Device::cpu);
  changed.fill(4.0f);
  Tensor written = there.clone();
  written.copy_from(changed);
  EXPECT_EQ(written.to(Device::cpu).span<float>()[0], 4.0f);
  EXPECT_EQ(there.to(Device::cpu).span<float>()[0], 1.5f);
}

}  // namespace
}  // namespace espalier::ops_test

// Every kernel that takes scratch memory (those of kernels.h, and each convolution kernel by itself), on
// shapes drawn at random: with scratch of zeros, of large numbers and of NaN, which must not change a bit of
// the result; with guards before and after scratch, outputs, inputs and prepared weights, which must stay as
// they are; at 1 to 4 threads; against a plain loop in double precision.
//
// ctest runs a fixed number of cases of each test. To go on for an hour, with other shapes:
//
//   ESPALIER_SCRATCH_SECONDS=3600 ESPALIER_SCRATCH_SEED=1 ESPALIER_ISA=avx2 build/release/bin/core_test
//     --gtest_filter='Scratch.*'
//
// shares the seconds among the tests. What is wrong, hangs or crashes is named as "case SEED/NUMBER" with its
// shape; ESPALIER_SCRATCH_CASE=SEED/NUMBER and the test's name as --gtest_filter run only that case.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>

#include "core/cpu/conv/conv_case.h"
#include "espalier/core/cpu/conv/conv.h"
#include "espalier/core/cpu/conv/depthwise.h"
#include "espalier/core/cpu/conv/direct_conv.h"
#include "espalier/core/cpu/conv/patches_conv.h"
#include "espalier/core/cpu/conv/pointwise.h"
#include "espalier/core/cpu/conv/taps_weights.h"
#include "espalier/core/cpu/conv/winograd.h"
#include "espalier/core/isa.h"
#include "espalier/util/error.h"
#include "support/rows.h"
#include "support/watchdog.h"

namespace espalier::scratch_test {
namespace {

constexpr float insides[] = {0.0f, 1e30f, std::numeric_limits<float>::quiet_NaN()};

/// The numbers that a case is made of.
class Dice {
 public:
  Dice(uint64_t seed, int64_t number) : key_(random_key(seed, static_cast<uint64_t>(number))) {}
  int64_t below(int64_t n) { return random_below(key_, next_++, n); }
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool coin() { return below(2) == 1; }
  int64_t one_of(std::initializer_list<int64_t> all) {
    return all.begin()[below(static_cast<int64_t>(all.size()))];
  }
  Activation activation() { return activations[below(5)]; }

 private:
  uint64_t key_, next_ = 0;
};

/// What a case says of itself, for the line that names it.
using Describe = std::function<void(const std::string& shape)>;
using Case = std::function<void(Dice&, const Describe&)>;

void run_case(const Case& body, uint64_t seed, int64_t number) {
  Dice dice(seed, number);
  const WithThreads some(static_cast<int>(dice.between(1, 4)));
  const std::string name = join("case ", seed, "/", number, ", ", threads(), " threads");
  std::string shape;
  working_on(name);
  body(dice, [&](const std::string& text) {
    shape = text;
    working_on(name + ", " + text);
  });
  if (testing::Test::HasFailure()) printf("%s, %s is wrong\n", name.c_str(), shape.c_str());
}

/// `count` cases; or as many as a share of ESPALIER_SCRATCH_SECONDS allows, of `tests` tests in all; or one.
void run_cases(int64_t count, const Case& body) {
  constexpr double tests = 9;
  uint64_t seed = 1;
  int64_t first = 0;
  double seconds = 0;
  if (const char* text = std::getenv("ESPALIER_SCRATCH_SEED")) seed = std::strtoull(text, nullptr, 10);
  if (const char* text = std::getenv("ESPALIER_SCRATCH_SECONDS")) seconds = std::atof(text) / tests;
  if (const char* text = std::getenv("ESPALIER_SCRATCH_CASE")) {
    char* rest = nullptr;
    seed = std::strtoull(text, &rest, 10);
    first = std::strtoll(*rest ? rest + 1 : rest, nullptr, 10);
    count = 1;
    seconds = 0;
  }
  const auto start = std::chrono::steady_clock::now();
  const auto more = [&](int64_t done) {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    return !testing::Test::HasFailure() && (seconds > 0 ? passed.count() < seconds : done < count);
  };
  int64_t done = 0;
  while (more(done))  // a thread keeps plans of all its shapes: a new one now and then
    std::thread([&] {
      for (const int64_t end = done + 50; done < end && more(done); ++done)
        run_case(body, seed, first + done);
    }).join();
  if (seconds > 0)
    printf("seed %llu: %lld cases\n", static_cast<unsigned long long>(seed), static_cast<long long>(done));
}

/// Runs kernel(outputs, scratch) on each kind of scratch. Outputs hold `before`; what they hold then goes to
/// check(outputs) the first time, and must be the same bits the others.
using Outputs = std::vector<std::unique_ptr<Guarded>>;
void with_every_scratch(size_t bytes, const std::vector<Floats>& before,
                        const std::function<void(const std::vector<float*>&, void*)>& kernel,
                        const std::function<void(const std::vector<Floats>&)>& check) {
  std::vector<Floats> first;
  for (const float inside : insides) {
    SCOPED_TRACE(join("scratch of ", inside));
    Guarded scratch(bytes, inside);
    Outputs outputs;
    std::vector<float*> pointers;
    for (const Floats& each : before) {
      outputs.push_back(std::make_unique<Guarded>(each));
      pointers.push_back(outputs.back()->floats());
    }
    kernel(pointers, scratch.raw());
    std::vector<Floats> found;
    for (const auto& each : outputs) found.emplace_back(each->span().begin(), each->span().end());
    if (first.empty())
      check(first = found);
    else
      for (size_t i = 0; i < found.size(); ++i)
        EXPECT_TRUE(same_bits(found[i], first[i])) << "output " << i << " has other bits";
  }
}

Floats nans(size_t n) { return Floats(n, std::numeric_limits<float>::quiet_NaN()); }

// --- convolutions

/// A convolution of at most so many multiplications.
ConvShape smaller(ConvShape s) {
  const int64_t each = std::max<int64_t>(1, s.out_h() * s.out_w() * s.o * s.kh * s.kw * (s.c / s.groups));
  s.n = std::clamp<int64_t>(1'500'000 / each, 1, s.n);
  return s;
}

ConvShape any_convolution(Dice& dice) {
  for (;;) {
    ConvShape s{.n = dice.coin() ? dice.between(1, 4) : dice.between(5, 41),
                .h = dice.between(1, 17),
                .w = dice.between(1, 17),
                .c = dice.between(1, 40),
                .o = dice.between(1, 40),
                .kh = dice.one_of({1, 1, 3, 3, 5, 7}),
                .kw = 0};
    s.kw = dice.below(8) == 0 ? dice.one_of({1, 3, 5, 7}) : s.kh;
    s.stride = dice.one_of({1, 1, 2, 2, 3});
    s.pad = dice.coin() ? std::min(s.kh, s.kw) / 2 : dice.below(std::max(s.kh, s.kw));
    if (dice.below(3) == 0) {  // axes and sides of their own
      s.stride = {dice.between(1, 3), dice.between(1, 3)};
      s.pad = {dice.below(4), dice.below(4), dice.below(4), dice.below(4)};
      if (dice.coin()) s.dilation = {dice.between(1, 3), dice.between(1, 3)};
    }
    switch (dice.below(8)) {
      case 0:  // depthwise
        s.groups = s.c;
        s.o = s.c * dice.between(1, 2);
        break;
      case 1:
        s.groups = dice.between(2, 5);
        s.c = s.groups * dice.between(1, 9);
        s.o = s.groups * dice.between(1, 9);
        break;
      case 2:  // wide ones
        s.c = dice.between(60, 80);
        s.o = dice.between(60, 80);
        break;
      default:
        break;
    }
    if (s.down().fits(s.h) && s.across().fits(s.w)) return smaller(s);
  }
}

/// What a residual network's shortcuts are, where they are narrow: a strided 1x1 window.
ConvShape shortcut(Dice& dice) {
  const int64_t stride = dice.between(2, 4), spare = dice.below(4) == 0 ? 1 : 0;
  return smaller({.n = dice.between(1, 41),
                  .h = stride * dice.between(1, 9) + spare,
                  .w = stride * dice.between(1, 9),
                  .c = dice.between(1, 40),
                  .o = dice.between(1, 40),
                  .kh = 1,
                  .kw = 1,
                  .stride = stride});
}

ConvShape convolution(Dice& dice) { return dice.below(3) == 0 ? shortcut(dice) : any_convolution(dice); }

/// A convolution's case with guards around its inputs.
struct GuardedCase {
  explicit GuardedCase(const ConvShape& s) : plain(s), x(plain.x), w(plain.w), dy(plain.dy) {}
  ConvCase plain;
  Guarded x, w, dy;
};

constexpr double tolerance = 1e-4;  // what writes where it should not is wrong by more

void conv_forward(const char* kernel_name, const ConvKernels& kernel,
                  size_t (*prepared_bytes)(const ConvShape&),
                  void (*prepare)(void*, const float*, const ConvShape&), GuardedCase& c,
                  const ConvEpilogue& e, const Doubles& expected, double allowed) {
  SCOPED_TRACE(kernel_name);
  const ConvShape& s = c.plain.s;
  const size_t size = prepared_bytes ? prepared_bytes(s) : 0, channels = static_cast<size_t>(s.o);
  Guarded prepared(size);
  if (size > 0) prepare(prepared.raw(), c.w.floats(), s);
  with_every_scratch(
      kernel.forward_scratch(s, e), {nans(expected.size()), nans(channels), nans(channels)},
      [&](const std::vector<float*>& to, void* scratch) {
        ConvEpilogue mine = e;
        if (e.statistics.mean) mine.statistics.mean = to[1], mine.statistics.variance = to[2];
        kernel.forward(to[0], c.x.floats(), c.w.floats(), size > 0 ? prepared.raw() : nullptr, mine, s,
                       scratch);
      },
      [&](const std::vector<Floats>& found) {
        EXPECT_TRUE(near(found[0], expected, allowed));
        if (e.statistics.mean) {
          Floats mean = found[1], variance = found[2];
          check_statistics({mean.data(), variance.data(), e.statistics.center}, expected, s.o);
        }
      });
}

constexpr ConvKernels conv2d{cpu::conv2d_forward_scratch,          cpu::conv2d_forward,
                             cpu::conv2d_backward_data_scratch,    cpu::conv2d_backward_data,
                             cpu::conv2d_backward_weights_scratch, cpu::conv2d_backward_weights};
constexpr ConvKernels direct{cpu::direct_forward_scratch,          cpu::direct_forward,
                             cpu::direct_backward_data_scratch,    cpu::direct_backward_data,
                             cpu::direct_backward_weights_scratch, cpu::direct_backward_weights};
constexpr ConvKernels pointwise{
    cpu::pointwise_forward_scratch,
    cpu::pointwise_forward,
    [](const ConvShape& s, bool) { return cpu::pointwise_backward_data_scratch(s); },
    cpu::pointwise_backward_data,
    nullptr,
    nullptr};
constexpr ConvKernels depthwise{
    cpu::depthwise_forward_scratch,
    cpu::depthwise_forward,
    [](const ConvShape& s, bool) { return cpu::depthwise_backward_data_scratch(s); },
    cpu::depthwise_backward_data,
    [](const ConvShape& s, bool) { return cpu::depthwise_backward_weights_scratch(s); },
    cpu::depthwise_backward_weights};
constexpr ConvKernels patches{
    cpu::patches_forward_scratch,
    [](float* y, const float* x, const float*, const void* prepared, const ConvEpilogue& e,
       const ConvShape& s, void* scratch) { cpu::patches_forward(y, x, prepared, e, s, scratch); },
    nullptr,
    nullptr,
    nullptr,
    nullptr};

TEST(Scratch, ConvolutionForward) {
  run_cases(150, [](Dice& dice, const Describe& describe) {
    const ConvShape s = convolution(dice);
    const int64_t epilogue = dice.below(32);
    const bool statistics = dice.coin(), prepared = dice.coin();
    const Activation f = statistics ? activations[dice.below(2)] : dice.activation();
    describe(join(name(s), " forward, epilogue ", epilogue, statistics ? ", statistics" : "",
                  prepared ? ", prepared" : "", ", activation ", static_cast<int>(f)));
    GuardedCase c(s);
    Guarded scale(random_floats(s.o, 4, -2, 2)), shift(random_floats(s.o, 5)),
        residual(random_floats(c.plain.pixels * s.o, 6)), center(random_floats(s.o, 7));
    float unused = 0;
    ConvEpilogue e{.scale = epilogue & 1 ? scale.floats() : nullptr,
                   .shift = epilogue & 2 ? shift.floats() : nullptr,
                   .residual = epilogue & 4 ? residual.floats() : nullptr,
                   .f = epilogue & 8 ? f : Activation::none};
    if (statistics) e.statistics = {&unused, &unused, epilogue & 16 ? center.floats() : nullptr};
    const Doubles products = c.plain.forward(), expected = with_epilogue(products, e, s.o);
    // An activation makes numbers small, not what rounding left of large ones.
    ConvEpilogue without = e;
    without.f = Activation::none;
    double largest = 1;
    for (const double z : with_epilogue(products, without, s.o)) largest = std::max(largest, std::abs(z));
    const double allowed = tolerance * largest;
    const auto bytes = [&](size_t (*of)(const ConvShape&)) { return prepared ? of : nullptr; };
    conv_forward("conv2d", conv2d, bytes(cpu::conv2d_prepared_bytes), cpu::conv2d_prepare, c, e, expected,
                 allowed);
    conv_forward("direct", direct, bytes(cpu::direct_prepared_bytes), cpu::direct_prepare, c, e, expected,
                 allowed);
    if (isa() == Isa::baseline) return;
    if (cpu::winograd_fits(s)) conv_forward("winograd", winograd, nullptr, nullptr, c, e, expected, allowed);
    if (cpu::pointwise_fits(s))
      conv_forward("pointwise", pointwise, bytes(cpu::pointwise_prepared_bytes), cpu::pointwise_prepare, c, e,
                   expected, allowed);
    if (cpu::depthwise_fits(s))
      conv_forward("depthwise", depthwise, bytes(cpu::depthwise_prepared_bytes), cpu::depthwise_prepare, c, e,
                   expected, allowed);
    if (cpu::patches_fit(s))
      conv_forward("patches", patches, cpu::patches_prepared_bytes, cpu::patches_prepare, c, e, expected,
                   allowed);
  });
}

template <class Kernel>
void gradient(const char* kernel_name, size_t bytes, const Floats& before, const Doubles& expected,
              bool accumulate, const Kernel& kernel) {
  SCOPED_TRACE(kernel_name);
  with_every_scratch(
      bytes, {accumulate ? before : nans(expected.size())},
      [&](const std::vector<float*>& to, void* scratch) { kernel(to[0], scratch); },
      [&](const std::vector<Floats>& found) {
        Doubles sum = expected;
        for (size_t i = 0; accumulate && i < sum.size(); ++i) sum[i] += double{before[i]};
        EXPECT_TRUE(near(found[0], sum, tolerance));
      });
}

TEST(Scratch, ConvolutionBackwardData) {
  run_cases(150, [](Dice& dice, const Describe& describe) {
    const ConvShape s = convolution(dice);
    const bool accumulate = dice.coin();
    describe(join(name(s), " backward data", accumulate ? ", accumulate" : ""));
    GuardedCase c(s);
    const Doubles expected = c.plain.backward_data();
    const Floats before = random_floats(static_cast<int64_t>(expected.size()), 31);
    const auto check = [&](const char* kernel_name, const ConvKernels& kernel) {
      gradient(kernel_name, kernel.backward_data_scratch(s, accumulate), before, expected, accumulate,
               [&](float* dx, void* scratch) {
                 kernel.backward_data(dx, c.dy.floats(), c.w.floats(), s, accumulate, scratch);
               });
    };
    check("conv2d", conv2d);
    check("direct", direct);
    if (isa() == Isa::baseline) return;
    if (cpu::winograd_fits(s)) check("winograd", winograd);
    if (cpu::pointwise_fits(s)) check("pointwise", pointwise);
    if (cpu::depthwise_fits(s)) check("depthwise", depthwise);
  });
}

void check_conv_backward_weights(const ConvShape& s, bool accumulate, const Describe& describe) {
  describe(join(name(s), " backward weights", accumulate ? ", accumulate" : ""));
  GuardedCase c(s);
  const Doubles expected = c.plain.backward_weights();
  const Floats before = random_floats(static_cast<int64_t>(expected.size()), 31);
  const auto check = [&](const char* kernel_name, const ConvKernels& kernel) {
    gradient(kernel_name, kernel.backward_weights_scratch(s, accumulate), before, expected, accumulate,
             [&](float* dw, void* scratch) {
               kernel.backward_weights(dw, c.dy.floats(), c.x.floats(), s, accumulate, scratch);
             });
  };
  check("conv2d", conv2d);
  if (cpu::direct_fits(s, cpu::Direction::backward_weights)) check("direct", direct);
  if (isa() == Isa::baseline) return;
  if (cpu::winograd_fits(s)) check("winograd", winograd);
  if (cpu::taps_fit(s)) check("taps", taps);
  if (cpu::depthwise_fits(s)) check("depthwise", depthwise);
}

TEST(Scratch, ConvolutionBackwardWeights) {
  run_cases(150, [](Dice& dice, const Describe& describe) {
    const ConvShape s = any_convolution(dice);
    check_conv_backward_weights(s, dice.coin(), describe);
  });
}

// oneDNN 2.6.3 writes past its scratch for these where they are narrow (direct_fits).
TEST(Scratch, ShortcutBackwardWeights) {
  run_cases(60, [](Dice& dice, const Describe& describe) {
    const ConvShape s = shortcut(dice);
    check_conv_backward_weights(s, dice.coin(), describe);
  });
}

// --- linear layers

TEST(Scratch, Linear) {
  run_cases(150, [](Dice& dice, const Describe& describe) {
    const auto width = [&] { return dice.coin() ? dice.between(1, 40) : dice.between(41, 200); };
    const LinearShape s{dice.coin() ? dice.between(1, 9) : dice.between(10, 70), width(), width()};
    const bool bias = dice.coin(), prepare = dice.coin(), accumulate = dice.coin();
    const Activation f = dice.activation();
    describe(join("linear ", s.n, "x", s.in, "x", s.out, bias ? ", bias" : "", prepare ? ", prepared" : "",
                  accumulate ? ", accumulate" : "", ", activation ", static_cast<int>(f)));
    const Floats x = random_floats(s.n * s.in, 1), w = random_floats(s.out * s.in, 2),
                 dy = random_floats(s.n * s.out, 3), b = random_floats(s.out, 4);
    Doubles y(dy.size()), dx(x.size()), dw(w.size());
    for (size_t n = 0; n < static_cast<size_t>(s.n); ++n)
      for (size_t o = 0; o < b.size(); ++o)
        for (size_t i = 0; i < static_cast<size_t>(s.in); ++i) {
          const size_t yi = n * b.size() + o, wi = o * static_cast<size_t>(s.in) + i,
                       xi = n * static_cast<size_t>(s.in) + i;
          y[yi] += double{x[xi]} * w[wi];
          dx[xi] += double{dy[yi]} * w[wi];
          dw[wi] += double{dy[yi]} * x[xi];
        }
    for (size_t i = 0; i < y.size(); ++i) y[i] = activated(f, y[i] + (bias ? b[i % b.size()] : 0.0f));
    Guarded in(x), weight(w), gradient_in(dy), shift(b);
    Guarded prepared(prepare ? cpu::linear_prepared_bytes(s) : 0);
    const bool has = prepared.span().size() > 0;
    if (has) cpu::linear_prepare(prepared.raw(), weight.floats(), s);
    gradient("forward", cpu::linear_forward_scratch(s, bias), {}, y, false, [&](float* to, void* scratch) {
      cpu::linear_forward(to, in.floats(), weight.floats(), has ? prepared.raw() : nullptr,
                          bias ? shift.floats() : nullptr, f, s, scratch);
    });
    gradient("backward data", cpu::linear_backward_data_scratch(s, accumulate), random_floats(s.n * s.in, 5),
             dx, accumulate, [&](float* to, void* scratch) {
               cpu::linear_backward_data(to, gradient_in.floats(), weight.floats(), s, accumulate, scratch);
             });
    gradient("backward weights", cpu::linear_backward_weights_scratch(s, accumulate),
             random_floats(s.out * s.in, 6), dw, accumulate, [&](float* to, void* scratch) {
               cpu::linear_backward_weights(to, gradient_in.floats(), in.floats(), s, accumulate, scratch);
             });
  });
}

TEST(Scratch, Matmul) {
  run_cases(100, [](Dice& dice, const Describe& describe) {
    const auto size = [&] { return dice.coin() ? dice.between(1, 20) : dice.between(21, 90); };
    const MatmulShape s{dice.between(1, 5), size(), size(), size(), dice.coin(), dice.coin()};
    const bool accumulate = dice.coin();
    describe(join("matmul ", s.batch, " of ", s.m, "x", s.k, "x", s.n, s.a_transposed ? ", a transposed" : "",
                  s.b_transposed ? ", b transposed" : "", accumulate ? ", accumulate" : ""));
    const Floats a = random_floats(s.batch * s.m * s.k, 1), b = random_floats(s.batch * s.k * s.n, 2);
    Guarded left(a), right(b);
    gradient("matmul", cpu::matmul_scratch(s, accumulate), random_floats(s.batch * s.m * s.n, 3),
             matmul_formula(doubles(a), doubles(b), s), accumulate, [&](float* to, void* scratch) {
               cpu::matmul(to, left.floats(), right.floats(), s, accumulate, scratch);
             });
  });
}

// --- norms and reductions

NormShape norm_shape(Dice& dice) {
  return {dice.coin() ? dice.between(2, 40) : dice.between(41, 4000),
          dice.below(4) == 0 ? dice.between(41, 140) : dice.between(1, 40)};
}

TEST(Scratch, BatchNorm) {
  run_cases(150, [](Dice& dice, const Describe& describe) {
    const NormShape s = norm_shape(dice);
    const size_t c = static_cast<size_t>(s.c);
    const int64_t wanted = dice.below(16), added = dice.below(16);
    const bool own = dice.coin(), residual = dice.coin(), centered = dice.coin();
    const Activation f = activations[dice.below(3)];
    describe(join("norm ", s.rows, "x", s.c, ", wanted ", wanted, ", added ", added,
                  own ? ", own statistics" : "", residual ? ", residual" : "", centered ? ", centered" : "",
                  ", activation ", static_cast<int>(f)));
    const Floats x = random_floats(s.rows * s.c, 1), r = random_floats(s.rows * s.c, 2),
                 dy = random_floats(s.rows * s.c, 3), center = random_floats(s.c, 4),
                 gamma = random_floats(s.c, 5, 0.5, 2), shift = random_floats(s.c, 6);
    const double rows = static_cast<double>(s.rows);
    Doubles mean(c), variance(c);
    for (size_t i = 0; i < x.size(); ++i) mean[i % c] += x[i] / rows;
    for (size_t i = 0; i < x.size(); ++i) variance[i % c] += std::pow(x[i] - mean[i % c], 2) / rows;
    Guarded in(x), middle(center);
    with_every_scratch(
        cpu::channel_statistics_scratch(s), {nans(c), nans(c)},
        [&](const std::vector<float*>& to, void* scratch) {
          cpu::channel_statistics({to[0], to[1], centered ? middle.floats() : nullptr}, in.floats(), s,
                                  scratch);
        },
        [&](const std::vector<Floats>& found) {
          EXPECT_TRUE(near(found[0], mean, tolerance));
          EXPECT_TRUE(near(found[1], variance, tolerance));
        });

    const Floats m = random_floats(s.c, 7), rstd = random_floats(s.c, 8, 0.5, 2);
    Doubles dz(x.size()), sum(c), weighted(c), dx(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t k = i % c;
      // As the kernel rounds it, so that relu's corner falls the same way.
      const float z = std::fma(x[i], gamma[k], shift[k]) + (residual ? r[i] : 0.0f);
      dz[i] = dy[i] * activation_slope(f, double{z});
      sum[k] += dz[i];
      weighted[k] += dz[i] * (double{x[i]} - m[k]) * rstd[k];
    }
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t k = i % c;
      const double taken = own ? (sum[k] + (double{x[i]} - m[k]) * rstd[k] * weighted[k]) / rows : 0;
      dx[i] = gamma[k] * (dz[i] - taken);
    }
    Guarded g(dy), res(r), scale(gamma), offset(shift), mu(m), deviation(rstd);
    const Doubles* const expected[] = {&dx, &dz, &weighted, &sum};
    std::vector<Floats> before;
    for (int i = 0; i < 4; ++i) {
      const size_t size = expected[i]->size();
      before.push_back(added >> i & 1 ? random_floats(static_cast<int64_t>(size), 20) : nans(size));
    }
    with_every_scratch(
        cpu::batch_norm_backward_scratch(s), before,
        [&](const std::vector<float*>& to, void* scratch) {
          const auto place = [&](int i) { return wanted >> i & 1 ? to[static_cast<size_t>(i)] : nullptr; };
          cpu::batch_norm_backward({.dx = place(0),
                                    .dresidual = place(1),
                                    .dgamma = place(2),
                                    .dbeta = place(3),
                                    .add_dx = (added & 1) != 0,
                                    .add_dresidual = (added & 2) != 0,
                                    .add_dgamma = (added & 4) != 0,
                                    .add_dbeta = (added & 8) != 0},
                                   {.dy = g.floats(),
                                    .x = in.floats(),
                                    .scale = scale.floats(),
                                    .shift = offset.floats(),
                                    .mean = mu.floats(),
                                    .rstd = deviation.floats(),
                                    .residual = residual ? res.floats() : nullptr,
                                    .f = f,
                                    .batch_statistics = own},
                                   s, scratch);
        },
        [&](const std::vector<Floats>& found) {
          for (size_t i = 0; i < 4; ++i) {
            if (!(wanted >> i & 1)) continue;
            Doubles total = *expected[i];
            for (size_t k = 0; k < total.size() && (added >> i & 1); ++k) total[k] += double{before[i][k]};
            EXPECT_TRUE(near(found[i], total, tolerance)) << "output " << i;
          }
        });
  });
}

TEST(Scratch, LayerNorm) {
  run_cases(100, [](Dice& dice, const Describe& describe) {
    NormShape s = norm_shape(dice);
    s.c = std::max<int64_t>(s.c, 2);
    const int64_t added = dice.below(8);
    describe(join("layer norm ", s.rows, "x", s.c, ", added ", added));
    const Floats x = random_floats(s.rows * s.c, 1), dy = random_floats(s.rows * s.c, 2),
                 gamma = random_floats(s.c, 3, 0.5, 2);
    const LayerNormFormula expected(doubles(x), doubles(dy), doubles(gamma), Doubles(gamma.size()), 0.1);
    const Floats of_mean(expected.mean.begin(), expected.mean.end()),
        of_rstd(expected.rstd.begin(), expected.rstd.end());
    Guarded in(x), g(dy), scale(gamma), mean(of_mean), rstd(of_rstd);
    const LayerNormBackward from{.dy = g.floats(),
                                 .x = in.floats(),
                                 .gamma = scale.floats(),
                                 .mean = mean.floats(),
                                 .rstd = rstd.floats()};
    const Doubles* const wanted[] = {&expected.dx, &expected.dgamma, &expected.dbeta};
    std::vector<Floats> before;
    for (int i = 0; i < 3; ++i) {
      const size_t size = wanted[i]->size();
      before.push_back(added >> i & 1 ? random_floats(static_cast<int64_t>(size), 20) : nans(size));
    }
    with_every_scratch(
        cpu::layer_norm_backward_scratch(s), before,
        [&](const std::vector<float*>& to, void* scratch) {
          cpu::layer_norm_backward({.dx = to[0],
                                    .dgamma = to[1],
                                    .dbeta = to[2],
                                    .add_dx = (added & 1) != 0,
                                    .add_dgamma = (added & 2) != 0,
                                    .add_dbeta = (added & 4) != 0},
                                   from, s, scratch);
        },
        [&](const std::vector<Floats>& found) {
          for (size_t i = 0; i < 3; ++i) {
            Doubles sum = *wanted[i];
            for (size_t k = 0; added >> i & 1 && k < sum.size(); ++k) sum[k] += before[i][k];
            EXPECT_TRUE(near(found[i], sum, tolerance)) << "output " << i;
          }
        });
  });
}

TEST(Scratch, Reductions) {
  run_cases(150, [](Dice& dice, const Describe& describe) {
    const NormShape s = norm_shape(dice);
    const bool accumulate = dice.coin(), masked = dice.coin();
    const Activation f = dice.activation();
    describe(join("sums of ", s.rows, "x", s.c, accumulate ? ", accumulate" : "", masked ? ", masked" : "",
                  ", activation ", static_cast<int>(f)));
    const size_t c = static_cast<size_t>(s.c);
    const Floats dy = random_floats(s.rows * s.c, 1), saved = random_floats(s.rows * s.c, 2, 0.1, 0.9),
                 before = random_floats(s.c, 3);
    const std::vector<uint8_t> mask = random_mask(s.rows * s.c, 4);
    Doubles dx(dy.size()), db(c);
    double total = 0, squares = 0;
    for (size_t i = 0; i < dy.size(); ++i) {
      const double v = saved[i];  // x where keeps_input(f), else y
      const double slope = f == Activation::sigmoid ? v * (1 - v)
                           : f == Activation::tanh  ? 1 - v * v
                                                    : activation_slope(f, v);
      dx[i] = dy[i] * slope;
      db[i % c] += dx[i];
      total += dy[i];
      if (!masked || mask[i]) squares += double{dy[i]} * dy[i];
    }
    for (size_t k = 0; accumulate && k < c; ++k) db[k] += double{before[k]};
    Guarded g(dy), y(saved);
    with_every_scratch(
        cpu::rows_scratch(s.c), {nans(dy.size()), accumulate ? before : nans(c)},
        [&](const std::vector<float*>& to, void* scratch) {
          cpu::activation_bias_backward(f == Activation::none ? nullptr : to[0], to[1], g.floats(),
                                        y.floats(), f, s.rows, s.c, accumulate, scratch);
        },
        [&](const std::vector<Floats>& found) {
          if (f != Activation::none) {
            EXPECT_TRUE(near(found[0], dx, tolerance));
          }
          EXPECT_TRUE(near(found[1], db, tolerance));
        });
    with_every_scratch(
        cpu::reduce_scratch(), {nans(1), nans(1)},
        [&](const std::vector<float*>& to, void* scratch) {
          const int64_t n = s.rows * s.c;
          cpu::sum(to[0], g.floats(), 0.5f, n, scratch);
          const UpdateSpan span{nullptr, g.floats(), masked ? mask.data() : nullptr, nullptr, nullptr, n};
          double square_sum = 0;
          cpu::gradient_square_sum(&square_sum, &span, 1, scratch);
          *to[1] = static_cast<float>(square_sum);
        },
        [&](const std::vector<Floats>& found) {
          EXPECT_TRUE(near(found[0], Doubles{total / 2}, tolerance));
          EXPECT_TRUE(near(found[1], Doubles{squares}, tolerance));
        });
  });
}

}  // namespace
}  // namespace espalier::scratch_test

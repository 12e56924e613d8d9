// Espalier's convolutions beside oneDNN's direct ones, in one process, taking turns: GFLOP/s of the direct
// algorithm's count for each shape of VGG19 and the ResNets, forward, backward data and backward weights
// (weights' transforms and reorders included), against this machine's best matrix product.
//
//   convolutions [--seconds S]     S for each kernel of each shape (default 0.3)
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string_view>

#include "espalier/core/cpu/conv.h"
#include "espalier/core/cpu/direct_conv.h"
#include "espalier/core/isa.h"
#include "espalier/core/parallel.h"
#include "espalier/core/random.h"
#include "espalier/core/table.h"
#include "espalier/core/tensor.h"

namespace espalier {
namespace {

struct Row {
  const char* where;
  int64_t n, side, in, out, k, stride = 1;
};
constexpr Row rows[] = {
    {"vgg19 1", 128, 32, 3, 64, 3},
    {"vgg19 2", 128, 32, 64, 64, 3},
    {"vgg19 3", 128, 16, 64, 128, 3},
    {"vgg19 4", 128, 16, 128, 128, 3},
    {"vgg19 5", 128, 8, 128, 256, 3},
    {"vgg19 6-8", 128, 8, 256, 256, 3},
    {"vgg19 9", 128, 4, 256, 512, 3},
    {"vgg19 10-16", 128, 4, 512, 512, 3},
    {"pruned", 128, 16, 37, 101, 3},
    {"resnet56 stage 1", 128, 32, 16, 16, 3},
    {"resnet56 stage 2", 128, 16, 32, 32, 3},
    {"resnet56 stage 3", 128, 8, 64, 64, 3},
    {"resnet56 down", 128, 32, 16, 32, 3, 2},
    {"resnet50 stem", 16, 224, 3, 64, 7, 2},
    {"resnet50 stage 1", 16, 56, 64, 64, 3},
    {"resnet50 stage 2", 16, 28, 128, 128, 3},
    {"resnet50 stage 3", 16, 14, 256, 256, 3},
    {"resnet50 stage 4", 16, 7, 512, 512, 3},
    {"resnet50 down", 16, 56, 128, 128, 3, 2},
    {"resnet50 1x1 up", 16, 56, 64, 256, 1},
    {"resnet50 1x1 down", 16, 28, 512, 128, 1},
    {"resnet50 1x1 down", 16, 14, 1024, 256, 1},
    {"resnet50 1x1 up", 16, 7, 512, 2048, 1},
    {"resnet50 shortcut", 16, 56, 256, 512, 1, 2},
};

Tensor random_tensor(const Shape& shape, uint64_t key) {
  Tensor tensor = Tensor::empty(shape);
  uint64_t i = 0;
  for (float& value : tensor.span<float>()) value = random_uniform(key, i++) - 0.5f;
  return tensor;
}
Tensor scratch(size_t bytes) { return Tensor::empty({static_cast<int64_t>(bytes) + 1}, DType::u8); }

/// The best seconds of ours and of theirs, called in turns.
std::array<double, 2> race(const std::function<void()>& ours, const std::function<void()>& theirs,
                           double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point t) {
    return std::chrono::duration<double>(Clock::now() - t).count();
  };
  std::array<double, 2> best{1e9, 1e9};
  const auto start = Clock::now();
  for (int turn = 0; turn < 4 || since(start) < 2 * seconds; ++turn) {
    for (size_t side : {0, 1}) {
      const auto before = Clock::now();
      (side == 0 ? ours : theirs)();
      best[side] = std::min(best[side], since(before));
    }
  }
  return best;
}

void run(double seconds) {
  fmt::print("{}, {} threads; GFLOP/s, and how many times oneDNN's direct convolution\n", isa_name(isa()),
             threads());
  Table table({"<shape", "<layer", "<kernel", "forward", "times", "backward data", "times",
               "backward weights", "times"});
  for (const Row& row : rows) {
    const ConvShape s{row.n, row.side, row.side, row.in, row.out, row.k, row.k, row.stride, row.k / 2};
    const Tensor x = random_tensor({s.n, s.h, s.w, s.c}, 1), w = random_tensor({s.o, s.kh, s.kw, s.c}, 2),
                 dy = random_tensor({s.n, s.out_h(), s.out_w(), s.o}, 3);
    Tensor y = Tensor::empty(dy.shape()), dx = Tensor::empty(x.shape()), dw = Tensor::empty(w.shape());
    Tensor block = scratch(std::max(
        {cpu::conv2d_forward_scratch(s, {}), cpu::conv2d_backward_data_scratch(s, false),
         cpu::conv2d_backward_weights_scratch(s, false), cpu::direct_forward_scratch(s),
         cpu::direct_backward_data_scratch(s, false), cpu::direct_backward_weights_scratch(s, false)}));
    void* memory = block.raw();
    const double flop = 2e-9 * static_cast<double>(dy.elements() * s.kh * s.kw * s.c);
    std::vector<std::string> cells{
        fmt::format("{}x{}x{} {}->{} {}x{}{}", s.n, s.h, s.w, s.c, s.o, s.kh, s.kw, s.stride > 1 ? "/2" : ""),
        row.where, cpu::conv2d_algorithm(s)};
    const auto add = [&](const std::function<void()>& ours, const std::function<void()>& theirs) {
      const auto best = race(ours, theirs, seconds);
      cells.push_back(fmt::format("{:.0f}", flop / best[0]));
      cells.push_back(fmt::format("{:.2f}", best[1] / best[0]));
    };
    add([&] { cpu::conv2d_forward(y.f32(), x.f32(), w.f32(), nullptr, {}, s, memory); },
        [&] { cpu::direct_forward(y.f32(), x.f32(), w.f32(), nullptr, s, memory); });
    add([&] { cpu::conv2d_backward_data(dx.f32(), dy.f32(), w.f32(), s, false, memory); },
        [&] { cpu::direct_backward_data(dx.f32(), dy.f32(), w.f32(), s, false, memory); });
    add([&] { cpu::conv2d_backward_weights(dw.f32(), dy.f32(), x.f32(), s, false, memory); },
        [&] { cpu::direct_backward_weights(dw.f32(), dy.f32(), x.f32(), s, false, memory); });
    table.add(cells);
  }
  fmt::print("{}", table.str());
}

}  // namespace
}  // namespace espalier

int main(int count, char** arguments) {
  double seconds = 0.3;
  char* end = nullptr;
  if (count == 3 && std::string_view(arguments[1]) == "--seconds") seconds = std::strtod(arguments[2], &end);
  if (count != 1 && (!end || *end || !(seconds > 0))) {
    fmt::print(stderr, "usage: convolutions [--seconds S]\n");
    return 2;
  }
  espalier::run(seconds);
}

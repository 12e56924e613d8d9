// Espalier's convolutions beside oneDNN's direct ones, in one process, taking turns: GFLOP/s of the direct
// algorithm's count for each shape of VGG19 and the ResNets and some at the edges of our kernels, forward,
// backward data and backward weights (weights' transforms and reorders included), after this machine's best
// matrix product.
//
//   convolutions [--seconds S] [--only TEXT]
//       S for each kernel of each shape (default 0.3); TEXT: rows that have it in their first two cells
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/core/cpu/conv/conv.h"
#include "espalier/core/cpu/conv/direct_conv.h"
#include "espalier/core/isa.h"
#include "espalier/core/measure.h"
#include "espalier/core/parallel.h"
#include "espalier/core/tensor.h"
#include "espalier/util/table.h"

namespace espalier {
namespace {

struct Row {
  const char* where;
  int64_t n, side, in, out, k, stride = 1, groups = 1;
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
    // Where the rule of core/cpu/conv/conv.cpp turns, and what no kernel of ours serves.
    {"map 2x2", 128, 2, 512, 512, 3},
    {"map 1x1", 128, 1, 512, 512, 3},
    {"8 channels", 128, 32, 8, 8, 3},
    {"12 channels", 128, 32, 12, 12, 3},
    {"32 channels", 128, 32, 32, 32, 3},
    {"48 channels", 128, 32, 48, 48, 3},
    {"8 channels", 128, 32, 8, 8, 1},
    {"12 channels", 128, 32, 12, 12, 1},
    {"32 channels", 128, 32, 32, 32, 1},
    {"48 channels", 128, 32, 48, 48, 1},
    {"grouped", 16, 56, 128, 128, 3, 1, 32},
    {"depthwise", 16, 56, 128, 128, 3, 1, 128},
    {"mobilenetv2 depthwise", 64, 48, 32, 32, 3, 1, 32},
    {"mobilenetv2 depthwise", 64, 48, 96, 96, 3, 2, 96},
    {"mobilenetv2 depthwise", 64, 24, 144, 144, 3, 1, 144},
    {"mobilenetv2 depthwise", 64, 24, 144, 144, 3, 2, 144},
    {"mobilenetv2 depthwise", 64, 12, 192, 192, 3, 1, 192},
    {"mobilenetv2 depthwise", 64, 12, 192, 192, 3, 2, 192},
    {"mobilenetv2 depthwise", 64, 6, 384, 384, 3, 1, 384},
    {"mobilenetv2 depthwise", 64, 6, 576, 576, 3, 1, 576},
    {"mobilenetv2 depthwise", 64, 6, 576, 576, 3, 2, 576},
    {"mobilenetv2 depthwise", 64, 3, 960, 960, 3, 1, 960},
    {"mobilenetv3 depthwise", 64, 24, 72, 72, 5, 2, 72},
    {"mobilenetv3 depthwise", 64, 12, 120, 120, 5, 1, 120},
    {"mobilenetv3 depthwise", 64, 6, 240, 240, 5, 1, 240},
    {"mobilenetv3 depthwise", 64, 6, 288, 288, 5, 2, 288},
    {"one image's depthwise", 1, 48, 96, 96, 3, 2, 96},
    {"one image's depthwise", 1, 12, 192, 192, 3, 1, 192},
    {"pruned 1x1", 128, 16, 37, 101, 1},
    {"pruned down", 128, 16, 37, 101, 3, 2},
};

struct Options {
  double seconds = 0.3;
  std::string only;
};

ConvShape shape_of(const Row& row) {
  return {row.n, row.side, row.side, row.in, row.out, row.k, row.k, row.stride, row.k / 2, row.groups};
}

/// "16x56x56 128->128 3x3/2 g32"
std::string text_of(const ConvShape& s) {
  return fmt::format("{}x{}x{} {}->{} {}x{}{}{}", s.n, s.h, s.w, s.c, s.o, s.kh, s.kw,
                     s.stride.down > 1 ? fmt::format("/{}", s.stride.down) : "",
                     s.groups > 1 ? fmt::format(" g{}", s.groups) : "");
}

/// "winograd"; or each of what oneDNN runs in the three directions: "direct (jit:avx512_core,
/// brgconv:avx512_core)"
std::string served_by(const ConvShape& s) {
  std::string text = cpu::conv2d_algorithm(s);
  if (text != "direct") return text;
  std::vector<std::string> names;
  for (const auto direction :
       {cpu::Direction::forward, cpu::Direction::backward_data, cpu::Direction::backward_weights}) {
    const std::string name = cpu::direct_implementation(s, direction);
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return fmt::format("{} ({})", text, fmt::join(names, ", "));
}

/// Scratch memory that serves every kernel of this shape, ours and theirs.
Tensor scratch_for(const ConvShape& s) {
  const size_t bytes =
      std::max({cpu::conv2d_forward_scratch(s, {}), cpu::conv2d_backward_data_scratch(s, false),
                cpu::conv2d_backward_weights_scratch(s, false), cpu::direct_forward_scratch(s, {}),
                cpu::direct_backward_data_scratch(s, false), cpu::direct_backward_weights_scratch(s, false)});
  return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8);
}

/// GFLOP/s and how many times theirs, for each direction.
std::vector<std::string> race_kernels(const ConvShape& s, double seconds) {
  const Tensor x = random_operand({s.n, s.h, s.w, s.c}, 1),
               w = random_operand({s.o, s.kh, s.kw, s.c / s.groups}, 2),
               dy = random_operand({s.n, s.out_h(), s.out_w(), s.o}, 3);
  Tensor y = Tensor::empty(dy.shape()), dx = Tensor::empty(x.shape()), dw = Tensor::empty(w.shape());
  Tensor block = scratch_for(s);
  void* memory = block.raw();
  const double mflop = 2e-6 * static_cast<double>(dy.elements() * w.shape().row_elements());
  std::vector<std::string> cells;
  const auto add = [&](const std::function<void()>& ours, const std::function<void()>& theirs) {
    const auto best = race({ours, theirs}, 1e3 * seconds);
    cells.push_back(fmt::format("{:.0f}", mflop / best[0]));
    cells.push_back(fmt::format("{:.2f}", best[1] / best[0]));
  };
  add([&] { cpu::conv2d_forward(y.f32(), x.f32(), w.f32(), nullptr, {}, s, memory); },
      [&] { cpu::direct_forward(y.f32(), x.f32(), w.f32(), nullptr, {}, s, memory); });
  add([&] { cpu::conv2d_backward_data(dx.f32(), dy.f32(), w.f32(), s, false, memory); },
      [&] { cpu::direct_backward_data(dx.f32(), dy.f32(), w.f32(), s, false, memory); });
  add([&] { cpu::conv2d_backward_weights(dw.f32(), dy.f32(), x.f32(), s, false, memory); },
      [&] { cpu::direct_backward_weights(dw.f32(), dy.f32(), x.f32(), s, false, memory); });
  return cells;
}

void run(const Options& options) {
  Table table({"<shape", "<layer", "<kernel", "forward", "times", "backward data", "times",
               "backward weights", "times"});
  for (const Row& row : rows) {
    const ConvShape s = shape_of(row);
    std::vector<std::string> cells{text_of(s), row.where, served_by(s)};
    if ((cells[0] + " " + cells[1]).find(options.only) == std::string::npos) continue;
    for (std::string& cell : race_kernels(s, options.seconds)) cells.push_back(std::move(cell));
    table.add(cells);
  }
  fmt::print(
      "{}, {} threads, {:.0f} GFLOP/s in a large matrix product; GFLOP/s, and how many times oneDNN's direct "
      "convolution\n{}",
      isa_name(isa()), threads(), peak_gflops(2e3 * options.seconds), table.str());
}

/// What the command line says; nothing where it cannot be read.
std::optional<Options> read(int count, char** arguments) {
  Options options;
  if (count % 2 == 0) return {};
  for (int i = 1; i < count; i += 2) {
    const std::string_view name = arguments[i];
    const char* value = arguments[i + 1];
    if (name == "--seconds") {
      char* end = nullptr;
      options.seconds = std::strtod(value, &end);
      if (*end || !(options.seconds > 0)) return {};
    } else if (name == "--only") {
      options.only = value;
    } else {
      return {};
    }
  }
  return options;
}

}  // namespace
}  // namespace espalier

int main(int count, char** arguments) {
  const auto options = espalier::read(count, arguments);
  if (!options) {
    fmt::print(stderr, "usage: convolutions [--seconds S] [--only TEXT]\n");
    return 2;
  }
  espalier::run(*options);
}

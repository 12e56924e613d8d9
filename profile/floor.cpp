#include "espalier/profile/floor.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "espalier/graph/kernels.h"
#include "espalier/graph/trace.h"
#include "espalier/nn/module.h"
#include "espalier/train/loss.h"
#include "espalier/util/error.h"
#include "espalier/util/table.h"

namespace espalier {
namespace {

/// One image through the network and to its loss, only shapes, in inference mode: a batch norm has no
/// variance of one image, and which kernels a step runs is Pass's to say.
void trace_step(Module& model, const Shape& input, Trace& trace) {
  const MetaDevice shapes_alone;
  const InMode inference(model, false);
  const NoGradient off;
  const Variable logits = model.forward(Variable(Tensor::zeros({1, input[0], input[1], input[2]})));
  default_loss().measure(logits, Tensor::zeros({1}, DType::i32, Device::meta));
  trace.close();
}

/// What the update reads and writes: weights and optimizer state both, gradients once.
KernelCall update_call(Module& model, const std::string& type) {
  const MetaDevice shapes_alone;
  const OptimizerOptions options = bench_optimizer(type);
  const auto optimizer = make_optimizer(options, model.parameters());
  int64_t bytes = 0;
  for (Parameter* parameter : optimizer->parameters()) {
    bytes += 3 * static_cast<int64_t>(parameter->value().bytes());
    parameter->for_tensors([&](std::string_view name, const Tensor& tensor) {
      if (use_of(name) == TensorUse::optimizer) bytes += 2 * static_cast<int64_t>(tensor.bytes());
    });
  }
  clear_optimizer_state(model.parameters());
  return {options.type + "_update", "", 0, bytes, {}};
}

}  // namespace

double CardPeaks::operations_per_second(const std::string& precision) const {
  if (precision == "f32") return f32;
  if (precision == "tf32") return tf32;
  if (precision == "bf16") return bf16;
  fail("floor: no precision '", precision, "'");
}

const CardPeaks& h100() {
  static const CardPeaks card{"H100 SXM", 3.35e12, 67e12, 495e12, 990e12};
  return card;
}

KernelFloor StepFloor::total() const {
  KernelFloor all{.kernel = "a step"};
  for (const KernelFloor& kernel : kernels) {
    all.calls += kernel.calls;
    all.macs += kernel.macs;
    all.bytes += kernel.bytes;
    all.milliseconds += kernel.milliseconds;
  }
  return all;
}

StepFloor step_floor(Module& model, const BenchOptions& options, const std::string& precision,
                     const CardPeaks& card) {
  const double operations = card.operations_per_second(precision);
  StepFloor floor{.precision = precision, .batch = options.batch, .kernels = {}, .left_out = {}};
  const auto add = [&](const KernelCall& call) {
    auto row = std::ranges::find(floor.kernels, call.kernel, &KernelFloor::kernel);
    if (row == floor.kernels.end()) row = floor.kernels.insert(row, {.kernel = call.kernel});
    ++row->calls;
    row->macs += call.macs;
    row->bytes += call.bytes;
    row->milliseconds += 1e3 * std::max(static_cast<double>(call.bytes) / card.bytes_per_second,
                                        2 * static_cast<double>(call.macs) / operations);
  };
  Trace trace;
  trace_step(model, options.model.input, trace);
  const Pass pass{.batch = options.batch,
                  .training = true,
                  .device = Device::meta,
                  .activations = precision == "bf16" ? DType::bf16 : DType::f32};
  for_each_kernel(trace.graph, pass, [&](const GraphNode& node, const std::vector<KernelCall>& calls) {
    for (const KernelCall& call : calls) add(call);
    const bool is_free = trace.reshapes(node);
    if (calls.empty() && !is_free && std::ranges::find(floor.left_out, node.op) == floor.left_out.end())
      floor.left_out.push_back(node.op);
  });
  add(update_call(model, options.model.type));
  return floor;
}

std::string floor_table(const std::vector<StepFloor>& floors, size_t width) {
  ESP_CHECK(!floors.empty(), "floor: no precision");
  std::vector<std::string> titles{"<kernel", "calls", "GFLOP"};
  for (const StepFloor& floor : floors)
    for (const char* what : {" GB", " ms"}) titles.push_back(floor.precision + what);
  Table table(titles);
  const auto row = [&](const auto& of) {
    const KernelFloor& first = of(floors.front());
    std::vector<std::string> cells{
        first.kernel, grouped(first.calls),
        first.macs > 0 ? fmt::format("{:.1f}", 2e-9 * static_cast<double>(first.macs)) : ""};
    for (const StepFloor& floor : floors) {
      const KernelFloor& kernel = of(floor);
      cells.push_back(fmt::format("{:.3f}", 1e-9 * static_cast<double>(kernel.bytes)));
      cells.push_back(fmt::format("{:.4f}", kernel.milliseconds));
    }
    table.add(std::move(cells));
  };
  for (size_t i = 0; i < floors.front().kernels.size(); ++i)
    row([&](const StepFloor& floor) { return floor.kernels[i]; });
  row([](const StepFloor& floor) { return floor.total(); });
  std::string rates;
  for (const StepFloor& floor : floors)
    rates += fmt::format("{}{} images/s in {}", rates.empty() ? "at the floor: " : ", ",
                         grouped(static_cast<int64_t>(floor.images_per_second())), floor.precision);
  for (const std::string& op : floors.front().left_out) rates += "\nnot counted: " + op;
  return table.str(width) + rates + "\n";
}

nlohmann::ordered_json to_json(const StepFloor& floor) {
  const auto numbers = [](const KernelFloor& k) {
    return nlohmann::ordered_json{{"kernel", k.kernel},
                                  {"calls", k.calls},
                                  {"macs", k.macs},
                                  {"bytes", k.bytes},
                                  {"milliseconds", k.milliseconds}};
  };
  auto kernels = nlohmann::ordered_json::array();
  for (const KernelFloor& kernel : floor.kernels) kernels.push_back(numbers(kernel));
  return {{"precision", floor.precision},
          {"images_per_second", floor.images_per_second()},
          {"milliseconds", floor.total().milliseconds},
          {"kernels", kernels}};
}

}  // namespace espalier

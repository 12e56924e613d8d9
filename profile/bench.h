// Bench: how fast a model trains or infers here, on random data, with the trainer's own step.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "espalier/nn/models/models.h"
#include "espalier/nn/module.h"
#include "espalier/optim/optimizer.h"

namespace espalier {

struct BenchOptions {
  ModelOptions model;  ///< what the given model was made from
  int64_t batch = 64;
  double seconds = 5;  ///< to measure for, after a warm-up of a tenth of it
};

struct BenchResult {
  std::string model, mode;  ///< mode: train, infer
  int64_t batch = 0, threads = 0;
  std::string isa;
  std::string device = "cpu", precision = "f32";
  std::string card;                  ///< empty on the CPU
  int64_t macs = 0;                  ///< of one image's forward pass
  std::vector<double> milliseconds;  ///< of each batch, sorted
  int64_t peak_memory_bytes = 0;     ///< peak resident of this process

  double median_ms() const { return milliseconds[milliseconds.size() / 2]; }
  double best_ms() const { return milliseconds.front(); }
};

/// Adam for MLPs and LeNets, SGD with momentum 0.9 and weight decay 5e-4 for others; `model` is its type.
OptimizerOptions bench_optimizer(const std::string& model);

/// Steps of training `model` by that optimizer.
BenchResult bench_train(const BenchOptions& options, Module& model);
/// Forward passes of `model` in inference mode.
BenchResult bench_infer(const BenchOptions& options, Module& model);

/// The object that `bench --json` prints.
nlohmann::ordered_json to_json(const BenchResult& result);

}  // namespace espalier

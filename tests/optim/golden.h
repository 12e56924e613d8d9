// Whole models against PyTorch, as bench/golden.py recorded it: one file of tests/golden, and the numbers
// that both sides make by bench/formula.py's formula.
#pragma once

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "espalier/core/random.h"
#include "espalier/graph/ops.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/state_dict.h"
#include "espalier/optim/optimizer.h"
#include "support/places.h"

namespace espalier {

/// Purposes of the golden data set's streams.
enum Stream : uint64_t { KIND = uint64_t{1} << 32, NOISE, PROTOTYPE, DOUBT, GUESS, PROBE, NORM };

class Golden {
 public:
  struct Batch {
    Variable images;  ///< [N,H,W,C]
    Tensor labels;    ///< i32 [N]
  };

  explicit Golden(const std::string& name) {
    const std::string path = source_folder() + "/tests/golden/" + name + ".json";
    std::ifstream file(path);
    if (!file) fail(path, ": cannot be read");
    record_ = nlohmann::json::parse(file);
    const auto& model = record_.at("model");
    options_.type = model.at("type");
    options_.input = Shape(std::span<const int64_t>(model.at("input").get<std::vector<int64_t>>()));
    options_.classes = model.at("classes");
    options_.activation = model.value("activation", "relu");
    options_.pool = model.value("pool", "max");
    seed_ = record_.at("seed");
  }

  bool has(const std::string& key) const { return record_.contains(key); }
  const nlohmann::json& operator[](const std::string& key) const { return record_.at(key); }
  /// With its initial weights, as `start` in bench/golden.py.
  std::unique_ptr<Module> model() const {
    auto model = make_model(options_, seed_);
    if (record_.contains("block_scale"))
      for (Parameter* parameter : model->parameters())
        if (parameter->name.ends_with("bn3.weight")) parameter->value().fill(record_["block_scale"]);
    return model;
  }

  /// Batch `step` (from 0), as golden_batch in bench/formula.py.
  Batch batch(int64_t step) const {
    const int64_t size = record_.at("batch"), elements = options_.input.elements();
    Tensor images = Tensor::empty({size, options_.input[0], options_.input[1], options_.input[2]});
    Tensor labels = Tensor::empty({size}, DType::i32);
    for (int64_t i = 0; i < size; ++i) {
      const int64_t n = step * size + i, kind = random_below(key(KIND), n, options_.classes);
      float* image = images.f32() + i * elements;
      for (int64_t e = 0; e < elements; ++e)
        image[e] = random_uniform(key(PROTOTYPE), kind * elements + e) +
                   random_uniform(key(NOISE), n * elements + e) - 1.0f;
      const bool doubt = random_uniform(key(DOUBT), n) < 0.25f;
      labels.data<int32_t>()[i] =
          static_cast<int32_t>(doubt ? random_below(key(GUESS), n, options_.classes) : kind);
    }
    return {Variable(images), labels};
  }
  Variable loss(Module& model, int64_t step) const {
    const Batch now = batch(step);
    return ops::softmax_cross_entropy(model.forward(now.images), now.labels).loss;
  }

  /// Scales, shifts and statistics of norms, as random_norms in bench/formula.py.
  void randomize_norms(Module& model) const {
    const auto parameters = model.parameters();
    for (uint64_t place = 0; place < parameters.size(); ++place) {
      const std::string& name = parameters[place]->name;
      const auto is = [&](const char* kind) { return name.ends_with(kind); };
      const Role role = parameters[place]->role;
      if (role != Role::scale && role != Role::shift && role != Role::buffer) continue;
      if (is("num_batches_tracked")) continue;
      const auto [lowest, range] = is(".weight")         ? std::pair{0.5f, 1.0f}
                                   : is(".bias")         ? std::pair{-0.25f, 0.5f}
                                   : is(".running_mean") ? std::pair{-0.1f, 0.2f}
                                                         : std::pair{0.1f, 0.3f};
      uint64_t i = place << 32;
      for (float& value : parameters[place]->value().span<float>())
        value = lowest + range * random_uniform(key(NORM), i++);
    }
  }

  /// Norm of a gradient, and its projection on the numbers that `probe` in bench/formula.py gives parameter
  /// `place`.
  std::pair<double, double> in_two_numbers(const Parameter& parameter, uint64_t place) const {
    const Tensor gradient = to_file_layout(parameter, parameter.gradient());
    double squares = 0, along = 0;
    uint64_t i = place << 32;
    for (const double g : gradient.span<float>()) {
      squares += g * g;
      along += g * (2.0 * random_uniform(key(PROBE), i++) - 1.0);
    }
    return {std::sqrt(squares), along};
  }

  /// The largest relative departure of the losses of `run`, training from the start.
  double departure(const std::string& run) const {
    const auto model = this->model();
    const auto& optimizer = record_.at("runs").at(run).at("optimizer");
    const auto stepper = make_optimizer({.type = optimizer.at("type"),
                                         .lr = optimizer.at("lr"),
                                         .momentum = optimizer.value("momentum", 0.0),
                                         .nesterov = optimizer.value("nesterov", false),
                                         .weight_decay = optimizer.value("weight_decay", 0.0)},
                                        model->parameters());
    double worst = 0;
    int64_t step = 0;
    for (const double expected : record_.at("runs").at(run).at("losses")) {
      const Variable found = loss(*model, step++);
      worst = std::max(worst, std::abs(found.value().item() - expected) / expected);
      found.backward();
      stepper->step(optimizer.at("lr"));
      stepper->clear_gradients();
    }
    return worst;
  }

 private:
  uint64_t key(Stream stream) const { return random_key(seed_, stream); }

  nlohmann::json record_;
  ModelOptions options_;
  uint64_t seed_;
};

}  // namespace espalier

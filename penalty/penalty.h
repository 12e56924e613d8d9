// Pruning as a book, step 6, penalty: what prepares a network to lose channels, or weights. A penalty adds
// its gradient to each step's, or moves weights after it; each is a file here, whose first lines have its
// formula. To add one: docs/how-to/penalty.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "espalier/nn/module.h"
#include "espalier/util/extra_options.h"
#include "espalier/util/registry.h"

namespace espalier {

/// "regularize" of a config; which of them concern a penalty, its row says.
struct PenaltyOptions {
  std::string type = "group_norm";                      ///< a row of penalties()
  double weight = 5e-4;                                 ///< its factor
  double ratio = 0.5;                                   ///< share of each group's channels that is pushed out
  double growth = 1e-4;                                 ///< what the coefficient grows by,
  int64_t every = 5;                                    ///< steps between,
  double max = 1.0;                                     ///< and the largest
  std::vector<std::string> include = {}, exclude = {};  ///< as in PruneOptions
  ExtraOptions extra = {};                              ///< those that the row declares
};

class Penalty {
 public:
  virtual ~Penalty() = default;

  /// Adds its gradient to what backward left; `step` counts from 0. It follows the network wherever that
  /// computes, and where channels were cut since.
  virtual void add_gradients(int64_t /*step*/) {}

  /// The rate at which a step has just moved a parameter; 0 for one that it left.
  using RateOf = std::function<double(const Parameter&)>;
  /// Moves weights itself, after the optimizer has: a proximal step.
  virtual void after_update(const RateOf& /*rate*/) {}

  /// What it has to remember when the stage goes on from a checkpoint: a JSON object. Of channels that were
  /// cut since it says nothing.
  virtual nlohmann::ordered_json state() const { return nlohmann::ordered_json::object(); }
  /// Takes what state() gave. Error with `place` for what it could not have given.
  virtual void restore(const nlohmann::ordered_json& /*state*/, const std::string& /*place*/) {}
};

/// What a name of a penalty stands for.
struct PenaltyInfo {
  std::string name, help;
  std::string paper = {};  ///< authors: title, venue; empty where there is none
  /// Which of weight, ratio, growth, every, max, include and exclude concern it.
  std::vector<std::string> options = {};
  std::vector<ExtraOption> extra = {};
  /// `input` is one image's shape; the options have all that the row declares.
  std::function<std::unique_ptr<Penalty>(Module&, const Shape& input, const PenaltyOptions&)> make;
};
Registry<PenaltyInfo>& penalties();

/// The penalty of `options.type`. UsageError for a type that is not known; Error for an entry of include or
/// exclude that names no layer.
std::unique_ptr<Penalty> make_penalty(Module& model, const Shape& input, const PenaltyOptions& options);

/// For a row: makes a `Type`.
template <class Type>
std::unique_ptr<Penalty> new_penalty(Module& model, const Shape& input, const PenaltyOptions& options) {
  return std::make_unique<Type>(model, input, options);
}

}  // namespace espalier

// FixedWeights: a promise for a scope, and what it buys.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "espalier/core/tensor.h"

namespace espalier {

/// What kernels have made of weights (another layout, a transform), each under its weight and a shape.
class PreparedWeights {
 public:
  /// What is kept for this weight and `shape`: what make() returned the first time.
  Tensor kept(const Tensor& weight, const std::vector<int64_t>& shape, const std::function<Tensor()>& make);

 private:
  struct Kept {
    Tensor weight, made;  // the weight, so that its address is not used twice
  };
  std::map<std::pair<const void*, std::vector<int64_t>>, Kept> kept_;
};

/// While one is alive on this thread, no weight changes: what a kernel makes of a weight is made once and
/// kept until the end of the outermost. Inference, evaluation and timing promise this; training cannot.
class FixedWeights {
 public:
  FixedWeights();
  /// Of a network whose weights do not change between such scopes, either: what is made is kept in `of`, and
  /// found there again in the next.
  explicit FixedWeights(PreparedWeights& of);
  ~FixedWeights();
  FixedWeights(const FixedWeights&) = delete;
  FixedWeights& operator=(const FixedWeights&) = delete;

  /// What make(memory) filled for this weight and `shape`, the first time it was asked for: `bytes` of it.
  /// Null if no promise is alive or `bytes` is 0.
  static const void* prepared(const Tensor& weight, const std::vector<int64_t>& shape, size_t bytes,
                              const std::function<void(void*)>& make);
  /// The same for what is a tensor of its own: what make() returned for this weight and `shape` the first
  /// time, or, if no promise is alive, returns now.
  static Tensor kept(const Tensor& weight, const std::vector<int64_t>& shape,
                     const std::function<Tensor()>& make);

 private:
  PreparedWeights own_;
  PreparedWeights* before_;
};

}  // namespace espalier

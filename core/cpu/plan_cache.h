// oneDNN's plans: kept by shape and by the number of threads for which they were generated.
#pragma once

#include <algorithm>

#include "espalier/core/parallel.h"
#include "espalier/core/plan_cache.h"

namespace espalier::cpu {

/// One cache a thread: a plan holds the pointers it is about to be run on, so it must not be shared.
template <class Plan, size_t N>
class PlanCache {
 public:
  using Key = std::array<int64_t, N>;

  PlanCache() = default;
  explicit PlanCache(size_t max_plans) : plans_(max_plans) {}

  /// The plan for `key` and the present number of threads, made by `make()` the first time. Good until the
  /// next call.
  template <class Make>
  Plan& get(const Key& key, const Make& make) {
    std::array<int64_t, N + 1> with_threads;
    std::copy(key.begin(), key.end(), with_threads.begin());
    with_threads[N] = threads();
    return plans_.get(with_threads, make);
  }

 private:
  espalier::PlanCache<Plan, N + 1> plans_;
};

}  // namespace espalier::cpu

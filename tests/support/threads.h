// A number of threads for one test.
#pragma once

#include "espalier/core/parallel.h"

namespace espalier {

/// Kernels use `count` threads while this lives.
class WithThreads {
 public:
  explicit WithThreads(int count) : before_(threads()) { set_threads(count); }
  ~WithThreads() { set_threads(before_); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;

 private:
  int before_;
};

}  // namespace espalier

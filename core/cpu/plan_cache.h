// oneDNN chooses and generates code for a shape once; the result, a plan, is kept by shape.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>

#include "espalier/core/parallel.h"
#include "espalier/core/random.h"

namespace espalier::cpu {

/// Plans under `N` numbers that describe a shape and its options. One cache a thread: a plan holds the
/// pointers it is about to be run on, so it must not be shared.
template <class Plan, size_t N>
class PlanCache {
 public:
  using Key = std::array<int64_t, N>;

  /// The plan for `key` and the present number of threads, made by `make()` the first time.
  template <class Make>
  Plan& get(const Key& key, const Make& make) {
    const Entry entry{key, threads()};
    if (last_ && last_->first == entry) return last_->second;
    auto found = plans_.find(entry);
    if (found == plans_.end()) found = plans_.emplace(entry, make()).first;
    last_ = &*found;
    return found->second;
  }

 private:
  struct Entry {
    Key key;
    int threads;
    bool operator==(const Entry&) const = default;
  };
  struct Hash {
    size_t operator()(const Entry& entry) const {
      uint64_t h = static_cast<uint64_t>(entry.threads);
      for (int64_t number : entry.key) h = mix64(h + static_cast<uint64_t>(number) + 0x9E3779B97F4A7C15u);
      return h;
    }
  };
  std::unordered_map<Entry, Plan, Hash> plans_;  // its elements stay where they are
  typename std::unordered_map<Entry, Plan, Hash>::value_type* last_ = nullptr;
};

}  // namespace espalier::cpu

// What a library chose and generated for a shape, a plan, is kept by shape.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <unordered_map>

#include "espalier/core/plans.h"
#include "espalier/core/random.h"

namespace espalier {

/// Plans under `N` numbers that describe a shape and its options. It holds `max_plans` plans, the least
/// recently used goes first, and drops those of shapes that are gone (core/plans.h). Not thread-safe.
template <class Plan, size_t N>
class PlanCache {
 public:
  using Key = std::array<int64_t, N>;

  /// 2,048: a ResNet-152 whose 155 layers were all cut to widths of their own asks for 3 x 155 plans in a
  /// step, and for 1,240 with those of an epoch's last batch, of an evaluation and of single images.
  explicit PlanCache(size_t max_plans = 2048) : max_plans_(max_plans) {}

  /// The plan for `key`, made by `make()` the first time. Good until the next call.
  template <class Make>
  Plan& get(const Key& key, const Make& make) {
    drop_old();
    if (plans_.empty() || plans_.front().key != key) {
      if (const auto found = places_.find(key); found != places_.end()) {
        plans_.splice(plans_.begin(), plans_, found->second);
      } else {
        if (plans_.size() >= max_plans_) drop_last();
        plans_.push_front({key, make(), changes_});
        places_.emplace(key, plans_.begin());
      }
    }
    plans_.front().used = changes_;
    return plans_.front().plan;
  }

 private:
  struct Hash {
    size_t operator()(const Key& key) const {
      uint64_t h = 0;
      for (int64_t number : key) h = mix64(h + static_cast<uint64_t>(number) + 0x9E3779B97F4A7C15u);
      return h;
    }
  };
  struct Kept {
    Key key;
    Plan plan;
    uint64_t used;  // last, by shape_changes()
  };

  void drop_last() {
    places_.erase(plans_.back().key);
    plans_.pop_back();
  }
  void drop_old() {
    if (changes_ == shape_changes()) return;
    changes_ = shape_changes();
    while (!plans_.empty() && plans_.back().used + 1 < changes_) drop_last();
  }

  size_t max_plans_;
  std::list<Kept> plans_;  // the last used first
  std::unordered_map<Key, typename std::list<Kept>::iterator, Hash> places_;
  uint64_t changes_ = shape_changes();
};

}  // namespace espalier

// The random numbers of one pass through a network: whoever runs the pass gives a key, and each op that draws
// takes the next of its streams. The same key draws the same, on every device and after --resume.
#pragma once

#include <cstdint>

namespace espalier {

/// While one lives on this thread (of several, the innermost) ops can draw.
class RandomPass {
 public:
  explicit RandomPass(uint64_t key);
  ~RandomPass();
  RandomPass(const RandomPass&) = delete;
  RandomPass& operator=(const RandomPass&) = delete;

  /// How many streams have been taken.
  uint64_t drawn() const { return drawn_; }
  /// The key of a stream that no other op of this pass has. Error outside of a pass.
  static uint64_t next_key();

 private:
  uint64_t key_, drawn_ = 0;
  RandomPass* before_;
};

}  // namespace espalier

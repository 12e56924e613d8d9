// Denormals: numbers below 1.2e-38, with which a processor computes up to a hundred times slower. Momentum
// and moments that decay come to them where gradients are 0 for some hundred steps, as behind a dead unit,
// and pruned networks have many of these (pytorch issue 46180).
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace espalier {

/// How the calling thread computes with them: bits of MXCSR, flush to zero and denormals are zeros. A region
/// of threads computes as its caller does (thread_pool.h), so that it does not matter who takes which part.
inline uint32_t denormals_mode() {
#if defined(__SSE2__)
  return _mm_getcsr() & 0x8040u;
#else
  return 0;
#endif
}

inline void set_denormals_mode([[maybe_unused]] uint32_t mode) {
#if defined(__SSE2__)
  if (const uint32_t now = _mm_getcsr(); (now & 0x8040u) != mode) _mm_setcsr((now & ~0x8040u) | mode);
#endif
}

/// While one lives they are 0 to the calling thread and to the regions that it begins, what it reads as what
/// it writes. (A card computes with them at its full speed.)
class FlushDenormals {
 public:
  FlushDenormals() : before_(denormals_mode()) { set_denormals_mode(0x8040u); }
  ~FlushDenormals() { set_denormals_mode(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  uint32_t before_;
};

}  // namespace espalier

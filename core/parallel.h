// Threads. Work is cut into one contiguous range a thread by a rule that knows only its size, so that the
// same sizes on the same number of threads always give the same bits.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <type_traits>

namespace espalier {

constexpr int max_threads = 1024;

/// How many threads kernels use: what set_threads was told, else OMP_NUM_THREADS (a UsageError if that is no
/// number of threads), else the processors that this process may use.
int threads();
/// A UsageError unless 1 <= count <= max_threads.
void set_threads(int count);

/// The half-open range that thread `part` of `parts` works on out of `n` items.
struct Range {
  int64_t begin, end;
};
inline Range part_of(int64_t n, int part, int parts) {
  const int64_t base = n / parts, rest = n % parts;
  const int64_t begin = part * base + std::min<int64_t>(part, rest);
  return {begin, begin + base + (part < rest ? 1 : 0)};
}

/// The parts that parallel_for cuts `n` items into when a part should hold at least `grain` of them.
inline int parts_for(int64_t n, int64_t grain) {
  return static_cast<int>(std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, threads()));
}

namespace detail {
void run_parts(int parts, void (*body)(const void* context, int part), const void* context);
}

/// Calls body(part) once for part = 0 .. parts-1, on threads that share the work; parts <= threads(). Which
/// thread computes a part, and whether two run at the same time, is open (thread_pool.h): parts must not wait
/// for each other. Bodies must not throw.
template <class Body>
void parallel_parts(int parts, Body&& body) {
  if (parts == 1) return body(0);
  using Callable = std::remove_reference_t<Body>;
  detail::run_parts(
      parts,
      [](const void* context, int part) { (*static_cast<Callable*>(const_cast<void*>(context)))(part); },
      &body);
}

/// Calls body(begin, end) on disjoint ranges that cover 0 .. n-1. Bodies must not throw.
template <class Body>
void parallel_for(int64_t n, int64_t grain, Body&& body) {
  if (n <= 0) return;
  const int parts = parts_for(n, grain);
  parallel_parts(parts, [&](int part) {
    const Range range = part_of(n, part, parts);
    body(range.begin, range.end);
  });
}

/// Calls body(part, item) once for every item 0 .. n-1, on `parts` threads: each begins with a share of its
/// own and, when done, helps the others with theirs, so that one that is held up holds up nobody. For items
/// whose results do not depend on who computes them. At most 128 threads work.
template <class Body>
void parallel_items(int64_t n, int parts, Body&& body) {
  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
  };
  Share shares[128];  // no memory is asked for in a step
  parts = std::min(parts, 128);
  for (int part = 0; part < parts; ++part) {
    const Range range = part_of(n, part, parts);
    shares[part].next = range.begin;
    shares[part].end = range.end;
  }
  parallel_parts(parts, [&](int part) {
    for (int turn = 0; turn < parts; ++turn) {
      Share& share = shares[(part + turn) % parts];
      for (int64_t item; (item = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;)
        body(part, item);
    }
  });
}

}  // namespace espalier

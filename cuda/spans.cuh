// All parameters of a network in one launch: their addresses are the kernel's parameter, and each block gets
// a chunk of one of them.
#pragma once

#include <span>

#include "espalier/core/kernels.h"
#include "espalier/cuda/device.cuh"

namespace espalier::cuda {

constexpr int span_threads = 256;
/// What the threads of a block move at once; chunks are a multiple of it, so that they begin aligned.
constexpr int64_t span_tile = span_threads * 4;
/// What the 32,764 bytes of a kernel's parameters hold beside a rule; few spans have a smaller parameter,
/// which is sooner at the card.
constexpr int many_spans = 600, few_spans = 64;

/// Chunk k of them all is chunk k - first[s] of the last span s with first[s] <= k.
template <int capacity>
struct Spans {
  UpdateSpan span[capacity];
  uint32_t first[capacity];
  int64_t count;
  int64_t chunk;  ///< numbers
};

/// Numbers begin .. end-1 of a span.
struct Chunk {
  UpdateSpan span;
  int64_t begin, end;
};
template <int capacity>
__device__ __forceinline__ Chunk chunk_of(const Spans<capacity>& spans, uint32_t k) {
  int low = 0;
  for (int high = static_cast<int>(spans.count); high - low > 1;) {
    const int middle = (low + high) / 2;
    (spans.first[middle] <= k ? low : high) = middle;
  }
  const int64_t n = spans.span[low].n, begin = (k - spans.first[low]) * spans.chunk;
  return {spans.span[low], begin, begin + spans.chunk < n ? begin + spans.chunk : n};
}

/// Calls body(Spans, chunks), which launches that many blocks: once for each 600 spans that are not empty,
/// each time with at most most_chunks chunks and one for each span beside them.
template <class Body>
void for_spans(const UpdateSpan* spans, int64_t count, int64_t most_chunks, const Body& body) {
  const auto pack = [&]<int capacity>(std::integral_constant<int, capacity>,
                                      std::span<const UpdateSpan> some) {
    int64_t total = 0;
    for (const UpdateSpan& s : some) total += s.n;
    Spans<capacity> packed = {};
    packed.chunk = blocks_for(blocks_for(total, most_chunks), span_tile) * span_tile;
    uint32_t chunks = 0;
    for (const UpdateSpan& s : some) {
      if (s.n == 0) continue;
      packed.span[packed.count] = s;
      packed.first[packed.count++] = chunks;
      chunks += static_cast<uint32_t>(blocks_for(s.n, packed.chunk));
    }
    if (chunks > 0) body(packed, chunks);
  };
  for (int64_t s = 0; s < count; s += many_spans) {
    const std::span some(spans + s, static_cast<size_t>(std::min<int64_t>(count - s, many_spans)));
    if (some.size() <= few_spans)
      pack(std::integral_constant<int, few_spans>(), some);
    else
      pack(std::integral_constant<int, many_spans>(), some);
  }
}

}  // namespace espalier::cuda

// What cutting channels moves.
#include <cstring>

#include "espalier/core/kernels.h"

namespace espalier::cpu {

void take(void* y, const void* x, const int64_t* kept, const TakeShape& s) {
  const auto* from = static_cast<const char*>(x);
  auto* to = static_cast<char*>(y);
  for (int64_t row = 0; row < s.outer; ++row, from += s.axis * s.inner)
    for (int64_t i = 0, end; i < s.count; i = end) {
      for (end = i + 1; end < s.count && kept[end] == kept[end - 1] + 1;) ++end;  // neighbours in one piece
      const int64_t bytes = (end - i) * s.inner;
      std::memcpy(to, from + kept[i] * s.inner, static_cast<size_t>(bytes));
      to += bytes;
    }
}

}  // namespace espalier::cpu

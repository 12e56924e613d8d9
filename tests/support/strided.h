// Copies between places that strides say, as tests of both devices make them.
#pragma once

#include <string>
#include <vector>

#include "espalier/core/kernels.h"
#include "support/numbers.h"

namespace espalier {

struct StridedCase {
  std::string name;
  StridedShape s;
  int64_t y_numbers, x_numbers;
};

/// [n,t,h,d] and [n,h,t,d], of vectors and not; a transpose; a crop and what undoes it; a repeat; nothing.
inline std::vector<StridedCase> strided_cases() {
  std::vector<StridedCase> all;
  for (const int64_t d : {1, 7, 16, 64})
    all.push_back({"heads of " + std::to_string(d),
                   {.sizes = {1, 5, 3, 33, d}, .y = {0, 99 * d, 33 * d, d, 1}, .x = {0, 99 * d, d, 3 * d, 1}},
                   5 * 99 * d,
                   5 * 99 * d});
  all.push_back({"transpose",
                 {.sizes = {1, 1, 4, 37, 21}, .y = {0, 0, 777, 21, 1}, .x = {0, 0, 777, 1, 37}},
                 4 * 777,
                 4 * 777});
  for (const int64_t c : {3, 8}) {
    const StridedShape crop{
        .sizes = {1, 2, 5, 6, c}, .y = {0, 30 * c, 6 * c, c, 1}, .x = {0, 72 * c, 9 * c, c, 1}};
    all.push_back({"crop of " + std::to_string(c), crop, 60 * c, 144 * c});
    StridedShape back = crop;
    std::swap(back.x, back.y);
    all.push_back({"back into " + std::to_string(c), back, 144 * c, 60 * c});
  }
  all.push_back(
      {"repeat", {.sizes = {1, 1, 1, 70, 520}, .y = {0, 0, 0, 520, 1}, .x = {0, 0, 0, 0, 1}}, 70 * 520, 520});
  all.push_back({"wide",
                 {.sizes = {1, 1, 1, 2, 70001}, .y = {0, 0, 0, 70001, 1}, .x = {0, 0, 0, 70002, 1}},
                 2 * 70001,
                 2 * 70002});
  all.push_back({"nothing", {.sizes = {1, 0, 1, 1, 4}}, 4, 4});
  return all;
}

/// By the plainest loops; the rest of y is left alone.
inline void copy_plainly(Floats& y, const Floats& x, const StridedShape& s, bool accumulate) {
  const auto& n = s.sizes;
  for (int64_t a = 0; a < n[0]; ++a)
    for (int64_t b = 0; b < n[1]; ++b)
      for (int64_t c = 0; c < n[2]; ++c)
        for (int64_t d = 0; d < n[3]; ++d)
          for (int64_t e = 0; e < n[4]; ++e) {
            const auto at = [&](const int64_t(&by)[5]) {
              return static_cast<size_t>(a * by[0] + b * by[1] + c * by[2] + d * by[3] + e * by[4]);
            };
            float& to = y[at(s.y)];
            to = x[at(s.x)] + (accumulate ? to : 0.0f);
          }
}

}  // namespace espalier

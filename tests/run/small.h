// A data set and a network so small that a run of them takes milliseconds.
#pragma once

#include "espalier/core/random.h"
#include "espalier/data/dataset.h"
#include "espalier/run/run.h"

namespace espalier {

/// `n` images of 4x4: class k is bright in column k, under noise.
inline Dataset columns(int64_t n, uint64_t key) {
  Dataset data{.name = "columns",
               .images = Tensor::empty({n, 4, 4, 1}, DType::u8),
               .labels = {},
               .class_names = {"0", "1", "2", "3"}};
  uint8_t* pixel = data.images.data<uint8_t>();
  for (int64_t i = 0; i < n; ++i) {
    const auto label = static_cast<int32_t>(random_below(key, static_cast<uint64_t>(i), 4));
    data.labels.push_back(label);
    for (int64_t p = 0; p < 16; ++p)
      *pixel++ = static_cast<uint8_t>(100 * (p % 4 == label) +
                                      random_below(key + 1, static_cast<uint64_t>(i * 16 + p), 120));
  }
  return data;
}

/// A config of stages on the synthetic digits, each a few steps long.
inline Config small_config(const std::string& stages, const std::string& data = "") {
  return parse_config(R"({"name": "small", "model": {"type": "mlp", "hidden": [16]},
                          "data": {"type": "synthetic", "batch": 100)" +
                          data + R"(}, "stages": [)" + stages + "]}",
                      "small.json");
}

}  // namespace espalier

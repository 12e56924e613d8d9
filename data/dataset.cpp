// A part of a data set is a copy of its rows: images stay dense, and the loader knows one form only.
#include "espalier/data/dataset.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "espalier/core/random.h"

namespace espalier {

const Dataset::Copy& Dataset::on(Device device) const {
  const bool is_it = copy.of.defined() && copy.of.shares(images) && copy.images.device() == device &&
                     copy.labels.elements() == size();
  if (!is_it) copy = {images.to(device), Tensor::from({size()}, labels, device), images};
  return copy;
}

Dataset subset(const Dataset& from, std::span<const int64_t> rows, const std::string& name) {
  const auto count = static_cast<int64_t>(rows.size());
  const int64_t image = from.images.shape().row_elements();
  Dataset result{name, Tensor::empty(from.images.shape().with(0, count), DType::u8), {}, from.class_names};
  result.labels.reserve(rows.size());
  auto* to = result.images.data<uint8_t>();
  for (int64_t row : rows) {
    ESP_CHECK(row >= 0 && row < from.size(), from.name, ": no image ", row, ", there are ", from.size());
    std::memcpy(to, from.images.data<uint8_t>() + row * image, static_cast<size_t>(image));
    to += image;
    result.labels.push_back(from.labels[row]);
  }
  return result;
}

void hold_out(DataSplits& data, double share, uint64_t seed) {
  constexpr uint64_t hold_out_stream = 0x686F6C646F7574;  // "holdout"
  if (!(share >= 0 && share < 1))
    fail_usage("/data/validation: found ", share, ", expected a share from 0 to under 1");
  if (share == 0) return;
  const int64_t n = data.train.size();
  if (n < 2)
    fail_usage("/data/validation: ", data.train.name, " has ", n, " images, too few to hold any out");
  const int64_t held = std::clamp<int64_t>(std::llround(share * static_cast<double>(n)), 1, n - 1);

  std::vector<int64_t> order = random_permutation(random_key(seed, hold_out_stream), n);
  std::sort(order.begin(), order.begin() + held);
  std::sort(order.begin() + held, order.end());
  const std::span<const int64_t> rows(order);
  data.validation = subset(data.train, rows.first(held), data.train.name + " (held out)");
  data.train = subset(data.train, rows.subspan(held), data.train.name);
}

}  // namespace espalier

// Normalisation is folded into one factor and one offset a channel, which the kernel that gathers a batch
// applies.
#include "espalier/data/loader.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "espalier/core/kernels.h"
#include "espalier/core/random.h"

namespace espalier {
namespace {

constexpr uint64_t shuffle_stream = 0x73687566666C65;  // "shuffle"

/// One number a channel, or `otherwise` for all channels where none are given.
std::vector<double> per_channel(const std::vector<double>& given, double otherwise, const Dataset& dataset,
                                const char* field) {
  const auto channels = static_cast<size_t>(dataset.channels());
  if (given.empty()) return std::vector<double>(channels, otherwise);
  if (given.size() != channels)
    fail_usage("/data/normalize/", field, ": ", given.size(), " numbers, but ", dataset.name, " has ",
               channels, channels == 1 ? " channel" : " channels");
  for (double value : given)
    if (!std::isfinite(value))
      fail_usage("/data/normalize/", field, ": found ", value, ", expected a finite number");
  return given;
}

}  // namespace

Loader::Loader(const Dataset& dataset, const LoaderOptions& options)
    : dataset_(dataset),
      batch_(std::min(options.batch, std::max<int64_t>(dataset.size(), 1))),
      shuffle_(options.shuffle),
      drop_last_(options.drop_last),
      key_(random_key(options.seed, shuffle_stream)),
      mean_(options.mean),
      std_(options.std),
      order_(static_cast<size_t>(dataset.size())) {
  ESP_CHECK(dataset.images.defined() && dataset.images.shape()[0] == dataset.size() &&
                dataset.images.elements() > 0,
            dataset.name, ": ", dataset.size(), " labels for images ", dataset.images.shape());
  if (batch_ < 1) fail_usage("/data/batch: found ", batch_, ", expected 1 or more");

  const auto mean = per_channel(options.mean, 0.0, dataset, "mean"),
             std = per_channel(options.std, 1.0, dataset, "std");
  for (size_t c = 0; c < mean.size(); ++c) {
    if (!(std[c] > 0)) fail_usage("/data/normalize/std: found ", std[c], ", expected a number above 0");
    normalization_.scale.push_back(static_cast<float>(1.0 / (255.0 * std[c])));
    normalization_.shift.push_back(static_cast<float>(-mean[c] / std[c]));
  }
  if (!options.augment.empty())
    augmenter_.emplace(options.augment, Shape{dataset.height(), dataset.width(), dataset.channels()},
                       normalization_, options.seed);
  std::iota(order_.begin(), order_.end(), int64_t{0});
  start_epoch(0);
}

DataDescription Loader::description() const {
  return {{dataset_.height(), dataset_.width(), dataset_.channels()}, dataset_.class_names, mean_, std_};
}

int64_t Loader::batches() const { return (dataset_.size() + (drop_last_ ? 0 : batch_ - 1)) / batch_; }

int64_t Loader::least_batch() const {
  const int64_t rest = dataset_.size() % batch_;
  return rest == 0 || drop_last_ ? batch_ : rest;
}

void Loader::start_epoch(int64_t epoch) {
  if (shuffle_) order_ = random_permutation(random_key(key_, static_cast<uint64_t>(epoch)), dataset_.size());
  epoch_ = epoch;
  next_ = 0;
}

void Loader::seek(int64_t index) {
  ESP_CHECK(index >= 0 && index <= batches(), "loader: no batch ", index, ", an epoch of ", dataset_.name,
            " has ", batches());
  next_ = index;
}

int64_t Loader::images_ahead(int64_t batches) const {
  const int64_t images = drop_last_ ? this->batches() * batch_ : dataset_.size();
  return std::clamp<int64_t>(images - next_ * batch_, 0, batches * batch_);
}

bool Loader::next(Batch& batch) {
  batch = {};  // first, so that its memory, still in the cache, is what this batch gets
  if (next_ == batches()) return false;
  const int64_t* rows = order_.data() + next_ * batch_;
  const Shape& shape = dataset_.images.shape();
  batch.size = std::min(batch_, dataset_.size() - next_ * batch_);
  batch.images = Tensor::empty(shape.with(0, batch.size));
  batch.labels = Tensor::empty({batch.size}, DType::i32);
  const auto* pixels = dataset_.images.data<uint8_t>();
  if (augmenter_)
    batch.share = augmenter_->gather(batch.images.f32(), pixels, rows, batch.size, epoch_, next_ * batch_);
  else
    ESP_RUN(Device::cpu, gather_images(batch.images.f32(), pixels, rows, batch.size, shape[1] * shape[2],
                                       shape[3], normalization_.scale.data(), normalization_.shift.data()));
  auto* labels = batch.labels.data<int32_t>();
  for (int64_t i = 0; i < batch.size; ++i) labels[i] = dataset_.labels[rows[i]];
  if (batch.share < 1) {
    batch.other_labels = Tensor::empty({batch.size}, DType::i32);
    std::reverse_copy(labels, labels + batch.size, batch.other_labels.data<int32_t>());
  }
  ++next_;
  return true;
}

}  // namespace espalier

// Normalisation is folded into one factor and one offset a channel, which the kernel that gathers a batch
// applies.
#include "espalier/data/loader.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "espalier/core/compute_device.h"
#include "espalier/core/kernels.h"
#include "espalier/core/random.h"

namespace espalier {
namespace {

/// Makes `tensor` unless it is there.
void prepare(Tensor& tensor, const Shape& shape, DType dtype, Device device) {
  if (!tensor.defined()) tensor = Tensor::empty(shape, dtype, device);
  ESP_CHECK(tensor.shape() == shape, "loader: a batch of shape ", shape, " in memory of ", tensor.shape());
}
/// `from` in `to`, or in its place.
void bring(Tensor& to, const Tensor& from, Device device) {
  if (to.defined())
    to.copy_from(from);
  else
    to = from.to(device);
}

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
  if (options.device == Device::cuda)
    there_.emplace(There{.device = options.device,
                         .order = {},
                         .scale = Tensor::from({dataset.channels()}, normalization_.scale).to(options.device),
                         .shift = Tensor::from({dataset.channels()}, normalization_.shift).to(options.device),
                         .views = {}});
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
  if (!there_) return;
  there_->order = Tensor::from({dataset_.size()}, order_).to(there_->device);
  there_->count = 0;
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

/// On the CPU.
void Loader::gather(Batch& batch, const int64_t* rows) const {
  const Shape& shape = dataset_.images.shape();
  prepare(batch.images, shape.with(0, batch.size), DType::f32, Device::cpu);
  prepare(batch.labels, {batch.size}, DType::i32, Device::cpu);
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
}

/// Of the next batch and those after it: they are drawn on the host, many batches at once, so that a step
/// sends nothing to the card.
const Views& Loader::views_ahead() {
  constexpr int64_t max_bytes = 16 << 20;
  There& t = *there_;
  const int64_t first = next_ * batch_, wanted = std::min(batch_, dataset_.size() - first);
  if (t.count > 0 && first >= t.first && first + wanted <= t.first + t.count) return t.views;
  const int64_t image_bytes = 4 * (dataset_.height() + dataset_.width());
  const int64_t batches = std::max<int64_t>(1, max_bytes / image_bytes / batch_);
  t.first = first;
  t.count = std::min(batches * batch_, dataset_.size() - first);
  const Views drawn = augmenter_->views(t.count, epoch_, first);
  t.views = {drawn.down.to(t.device), drawn.across.to(t.device), drawn.holes.to(t.device), drawn.holes_each};
  return t.views;
}

/// On a card, from a copy of the data set there.
void Loader::gather_on_device(Batch& batch) {
  const Dataset::Copy& data = dataset_.on(there_->device);
  const Shape& shape = data.images.shape();
  prepare(batch.images, shape.with(0, batch.size), activation_dtype(there_->device), there_->device);
  prepare(batch.labels, {batch.size}, DType::i32, there_->device);
  const auto* pixels = data.images.data<uint8_t>();
  const int64_t* rows = there_->order.data<int64_t>() + next_ * batch_;
  const float *scale = there_->scale.f32(), *shift = there_->shift.f32();
  if (augmenter_) {
    const Views& views = views_ahead();
    const int64_t offset = next_ * batch_ - there_->first;
    const auto* holes = static_cast<const Box*>(views.holes.raw());
    ESP_RUN_REAL(batch.images,
                 gather_views(batch.images.data<Real>(),
                              ImageViews{.x = pixels,
                                         .rows = rows,
                                         .down = views.down.data<int32_t>() + offset * shape[1],
                                         .across = views.across.data<int32_t>() + offset * shape[2],
                                         .holes = holes ? holes + offset * views.holes_each : nullptr,
                                         .n = batch.size,
                                         .h = shape[1],
                                         .w = shape[2],
                                         .c = shape[3],
                                         .holes_each = views.holes_each},
                              scale, shift));
  } else {
    ESP_RUN_REAL(batch.images, gather_images(batch.images.data<Real>(), pixels, rows, batch.size,
                                             shape[1] * shape[2], shape[3], scale, shift));
  }
  ESP_RUN(there_->device,
          gather_labels(batch.labels.data<int32_t>(), data.labels.data<int32_t>(), rows, batch.size));
}

bool Loader::next(Batch& batch, bool in_place) {
  if (!in_place) batch = {};  // first, so that its memory, still in the cache, is what this batch gets
  if (next_ == batches()) return false;
  batch.size = std::min(batch_, dataset_.size() - next_ * batch_);
  if (there_ && (!augmenter_ || augmenter_->only_views())) {
    gather_on_device(batch);
  } else if (there_) {
    Batch here{.images = {}, .labels = {}, .size = batch.size};
    gather(here, order_.data() + next_ * batch_);
    batch.share = here.share;
    bring(batch.images, here.images.to(activation_dtype(there_->device)), there_->device);
    bring(batch.labels, here.labels, there_->device);
    if (here.other_labels.defined()) bring(batch.other_labels, here.other_labels, there_->device);
  } else {
    gather(batch, order_.data() + next_ * batch_);
  }
  ++next_;
  return true;
}

}  // namespace espalier

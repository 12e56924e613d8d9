// Loader: a data set in batches, shuffled anew each epoch. Which images are in which batch, and how they are
// augmented, depends only on seed, epoch and batch number: (epoch, batch number) is all there is to save.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "espalier/data/augment.h"
#include "espalier/data/dataset.h"

namespace espalier {

struct LoaderOptions {
  int64_t batch = 64;      ///< of more than there are, all
  bool shuffle = true;     ///< else the order of the data set
  bool drop_last = false;  ///< an epoch ends where fewer than a batch are left
  uint64_t seed = 0;
  std::vector<double> mean = {}, std = {};  ///< [C] each, on pixels in 0..1; both empty: pixels stay in 0..1
  std::vector<Augmentation> augment = {};   ///< in this order, before normalisation
  Device device = Device::cpu;              ///< where batches go
};

struct Batch {
  Tensor images;     ///< [n,H,W,C], of activation_dtype (core/compute_device.h): (pixel / 255 - mean) / std
  Tensor labels;     ///< i32 [n]
  int64_t size = 0;  ///< n: LoaderOptions::batch, or what is left for an epoch's last unless it is dropped
  /// Under mixup, an image is `share` of what `labels` says and the rest of what `other_labels`, i32 [n],
  /// says.
  float share = 1.0f;
  Tensor other_labels = {};  ///< undefined without mixup
};

/// What a network's images are and its answers mean: what its file has to say beside the network itself.
struct DataDescription {
  Shape image;                                ///< [H,W,C]
  std::vector<std::string> class_names = {};  ///< in the order of its outputs; none: they are numbers
  std::vector<double> mean = {}, std = {};    ///< as in LoaderOptions
};

class Loader {
 public:
  /// `dataset` must outlive the loader. UsageError for a batch that is under 1, for mean or std that are not
  /// one finite number a channel, a std that is not above 0, or augmentations that do not fit the images.
  /// Starts at epoch 0, batch 0.
  Loader(const Dataset& dataset, const LoaderOptions& options);
  Loader(Dataset&& dataset, const LoaderOptions& options) = delete;

  /// Of the data set, as this loader normalises it.
  DataDescription description() const;
  /// Images in a batch, and in an epoch's shortest, its last.
  int64_t batch() const { return batch_; }
  int64_t least_batch() const;
  /// Batches in an epoch.
  int64_t batches() const;
  /// Draws this epoch's order and goes to its first batch.
  void start_epoch(int64_t epoch);
  /// Goes to batch `index` of this epoch, 0 .. batches(), without reading those before.
  void seek(int64_t index);
  /// Images in the next `batches` batches of this epoch, or in those that are left.
  int64_t images_ahead(int64_t batches) const;
  /// Reads the next batch, in memory that the last one handed back; false at the end of the epoch.
  /// `in_place`: in the memory of `batch` itself, an earlier one of as many images, or an empty one.
  bool next(Batch& batch, bool in_place = false);
  /// Where batches go.
  Device device() const { return there_ ? there_->device : Device::cpu; }

 private:
  void gather(Batch& batch, const int64_t* rows) const;
  void gather_on_device(Batch& batch);
  const Views& views_ahead();

  const Dataset& dataset_;
  const int64_t batch_;
  const bool shuffle_, drop_last_;
  const uint64_t key_;
  const std::vector<double> mean_, std_;  // as given
  Normalization normalization_;
  std::optional<Augmenter> augmenter_;
  std::vector<int64_t> order_;  // [N]
  int64_t epoch_ = 0;
  int64_t next_ = 0;  // index of the batch that next() reads

  /// Of a loader whose batches go to a card, what they are put together from there.
  struct There {
    Device device;
    Tensor order;         // i64 [N], of this epoch
    Tensor scale, shift;  // f32 [C]
    Views views;          // of the images from place `first` of the epoch on
    int64_t first = 0, count = 0;
  };
  std::optional<There> there_;
};

}  // namespace espalier

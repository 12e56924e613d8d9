#include "espalier/data/datasets.h"

namespace espalier {

// Each in the source that is named like it, or like its family.
DatasetInfo mnist();
DatasetInfo cifar10();
DatasetInfo cifar100();
DatasetInfo image_folder();
DatasetInfo synthetic();

Registry<DatasetInfo>& datasets() {
  static Registry<DatasetInfo> all("data set", {mnist(), cifar10(), cifar100(), image_folder(), synthetic()});
  return all;
}

namespace {

/// With all extra options of its row.
DatasetRequest completed(const DatasetRequest& request, const DatasetInfo& info) {
  DatasetRequest all = request;
  all.extra = request.extra.with_defaults(info.extra, "data set " + info.name);
  return all;
}

}  // namespace

int64_t known_classes(const DatasetRequest& request) {
  const DatasetInfo& info = datasets().named(request.type);
  return info.classes ? info.classes(completed(request, info)) : 0;
}

int64_t count_classes(const DatasetRequest& request) {
  const DatasetInfo& info = datasets().named(request.type);
  if (const int64_t known = known_classes(request); known > 0) return known;
  if (info.class_names) return static_cast<int64_t>(info.class_names(completed(request, info)).size());
  return load_dataset(request).train.classes();
}

namespace {

/// Error for what no loader could serve: whose program's own it is made should hear of it here.
void check_split(const Dataset& data, const std::string& split) {
  const Tensor& images = data.images;
  ESP_CHECK(images.defined() && images.dtype() == DType::u8 && images.shape().axes() == 4, split,
            ": expected images u8 [N,H,W,C], found ",
            images.defined() ? join(dtype_name(images.dtype()), " ", images.shape()) : "none");
  ESP_CHECK(images.shape()[0] == data.size(), split, ": ", data.size(), " labels for ", images.shape()[0],
            " images");
  ESP_CHECK(data.size() > 0, split, ": has no images");
  ESP_CHECK(data.classes() > 0, split, ": has no class_names");
  for (size_t i = 0; i < data.labels.size(); ++i)
    ESP_CHECK(data.labels[i] >= 0 && data.labels[i] < data.classes(), split, ": label ", data.labels[i],
              " of image ", i, ", expected 0 to ", data.classes() - 1);
}

}  // namespace

DataSplits load_dataset(const DatasetRequest& request) {
  const DatasetInfo& info = datasets().named(request.type);
  DataSplits data = info.load(completed(request, info));
  check_split(data.train, "data set " + info.name + ", train");
  check_split(data.test, "data set " + info.name + ", test");
  return data;
}

}  // namespace espalier

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

DataSplits load_dataset(const DatasetRequest& request) {
  const DatasetInfo& info = datasets().named(request.type);
  return info.load(completed(request, info));
}

}  // namespace espalier
